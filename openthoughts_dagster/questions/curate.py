"""Select, decontaminate, deduplicate: the questions that go on, and why the others do not."""

import json
from dataclasses import dataclass

import polars as pl

from openthoughts_dagster.lake import REJECTED_QUESTIONS
from openthoughts_dagster.questions.decisions import Decision
from openthoughts_dagster.questions.decontaminate import decontaminate
from openthoughts_dagster.questions.dedup import deduplicate
from openthoughts_dagster.questions.select import select_top
from openthoughts_dagster.recipe import Decontamination, DomainQuestions


@dataclass(frozen=True)
class Curated:
    """Rows of deduped_questions and of rejected_questions; together the scored questions."""

    questions: pl.DataFrame
    rejected: pl.DataFrame


def curate(
    scored: pl.DataFrame, settings: DomainQuestions, decontamination: Decontamination, benchmarks: pl.DataFrame
) -> Curated:
    """The questions of one source that teachers answer: top by score, then decontaminated, then deduplicated.

    Of a group of duplicates the one with the best score stays.
    """
    questions, reasons = scored.sort("question_id"), dict[str, Decision]()
    if settings.selection is not None:
        questions, dropped = select_top(questions, settings.selection.by, settings.selection.count)
        reasons |= dropped
    questions, dropped = decontaminate(questions, decontamination, benchmarks)
    reasons |= dropped
    questions, dropped = deduplicate(questions, settings.dedup)
    reasons |= dropped
    rejected = [
        {
            "source": row["source"],
            "stage": "deduped_questions",
            "question_id": row["question_id"],
            "question": row["question"],
            "reason": reasons[row["question_id"]].reason,
            "evidence": json.dumps(reasons[row["question_id"]].evidence, ensure_ascii=False),
            "origin": row["origin"],
        }
        for row in scored.iter_rows(named=True)
        if row["question_id"] in reasons
    ]
    return Curated(questions, pl.DataFrame(rejected, schema=REJECTED_QUESTIONS.schema))
