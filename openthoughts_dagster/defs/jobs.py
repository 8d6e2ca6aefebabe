"""Named jobs: the pieces in which a recipe is run. Each can be launched and backfilled from the UI as well."""

from collections.abc import Sequence
from typing import Any

import dagster as dg

from openthoughts_dagster.defs.asset_entry import AssetEntry

MODELS, QUESTIONS, STUDENTS, RANKINGS = "models", "refresh_questions", "students", "rankings"
ANSWERS, EVALUATION = "backfill_teacher", "evaluate_students"

_DESCRIPTIONS = {
    MODELS: "Train the tiny models of the quickstart.",
    QUESTIONS: "Read, score, select and clean the questions of sources.",
    ANSWERS: "Let a teacher answer: launch a backfill, and pick one teacher and the sources.",
    EVALUATION: "Train students on the answers that are there, and score them on the benchmarks.",
    STUDENTS: "From questions to scores in one run for each source and teacher.",
    RANKINGS: "Rank sources and teachers by the scores that are there, and sum up what everything cost.",
}


def recipe_jobs(entries: Sequence[AssetEntry]) -> list[Any]:
    """A job for each name that the catalogue's entries give; a job without a description of its own is an error."""
    names = dict.fromkeys(name for entry in entries for name in entry.jobs)
    return [
        dg.define_asset_job(
            name,
            selection=[entry.name for entry in entries if name in entry.jobs],
            description=_DESCRIPTIONS[name],
        )
        for name in names
    ]
