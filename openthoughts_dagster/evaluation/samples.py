"""What the scores tables keep of every answer of an item, so that a person can look at it later."""

import json
from collections.abc import Sequence
from typing import Any

import polars as pl

from openthoughts_dagster.evaluation.tasks import PreparedTask
from openthoughts_dagster.lake import frame_hash

_NOT_SCORES = ("reference", "model", "samples")


def reference_of(doc: Any) -> str | None:
    """Return the reference of a lighteval document as a text; None where it has none, as with tested programs."""
    try:
        golds = [str(gold) for gold in doc.get_golds()]
    except (IndexError, TypeError):  # a document without choices
        return None
    return " | ".join(gold for gold in golds if gold.strip()) or None


def sample_columns(prepared: PreparedTask, detail: Any, completions: Sequence[tuple[str, str]]) -> dict[str, Any]:
    """Return the columns `model` and `samples` of an item.

    Args:
        prepared: The task, with the verdicts of its judge.
        detail: lighteval's detail of one document.
        completions: Partition and id in the ledger of each sample.

    Returns:
        `samples` is JSON: an object with completion_id, extracted (null where no answer was found, or where lighteval
        does not say what it read) and score (null where only the mean over samples is known) for each repeat, and lost:
        why nothing is known of a sample whose program could not be run, and whose score is null.
    """
    item, repeats = detail.doc.id, prepared.repeats
    extracted: Sequence[str | None] = [None] * repeats
    lost: Sequence[str | None] = [None] * repeats
    if prepared.judged is not None:
        verdicts = prepared.judged.verdicts[item]
        extracted = [verdict.extracted for verdict in verdicts]
        lost = [verdict.lost for verdict in verdicts]
        scores: Sequence[float | None] = [verdict.score if verdict.lost is None else None for verdict in verdicts]
    elif repeats == 1:
        scores = [float(detail.metric[prepared.metric])]
    else:
        scores = [None] * repeats
    samples = [
        {"completion_id": completion, "extracted": text, "score": score} | ({} if why is None else {"lost": why})
        for (_, completion), text, score, why in zip(completions, extracted, scores, lost, strict=False)
    ]
    model = next((name for name, _ in completions if name), None)
    return {"model": model, "samples": json.dumps(samples, ensure_ascii=False) if model else None}


def scores_version(rows: pl.DataFrame) -> str:
    """Return the data version of rows of a scores table: the hash of the scores, without the names of completions."""
    return frame_hash(rows.drop(_NOT_SCORES, strict=False))
