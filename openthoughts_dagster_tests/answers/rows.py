"""Rows of the ledger for tests that read it."""

from collections.abc import Sequence
from datetime import UTC, datetime

import polars as pl

from openthoughts_dagster.lake import COMPLETIONS


def completion_rows(
    model: str, ids: Sequence[str], answers: Sequence[str], reasoning: Sequence[str | None]
) -> pl.DataFrame:
    """A finished completion for each id, of one model, as an engine would have left it."""
    filled: dict[str, object] = {name: "" if kind == pl.String else 0 for name, kind in COMPLETIONS.schema.items()}
    filled |= {"model": model, "outcome": "answered", "finish_reason": "stop", "error": None, "permanent": False}
    rows = [
        filled | {"completion_id": number, "key": number, "answer": answer, "reasoning": thought, "created_at": now()}
        for number, answer, thought in zip(ids, answers, reasoning, strict=True)
    ]
    return pl.DataFrame(rows, schema=COMPLETIONS.schema)


def now() -> datetime:
    """The time, UTC."""
    return datetime.now(UTC)
