"""What every step of curation returns: the rows that stay, and a reason for each that goes."""

from collections.abc import Mapping
from dataclasses import dataclass

import polars as pl

_EVIDENCE = 200


@dataclass(frozen=True)
class Decision:
    """Why a question goes: a slug to count by, and what a person needs to agree or not."""

    reason: str
    evidence: Mapping[str, object]


def split(rows: pl.DataFrame, drops: Mapping[int, Decision]) -> tuple[pl.DataFrame, dict[str, Decision]]:
    """The rows whose position is not in `drops`, in order, and the decisions by question_id."""
    ids = rows["question_id"]
    return rows[[i for i in range(rows.height) if i not in drops]], {ids[i]: why for i, why in drops.items()}


def shown(text: str) -> str:
    """As much of a text as evidence needs."""
    return text if len(text) <= _EVIDENCE else text[:_EVIDENCE] + "…"
