"""The named jobs in which a recipe runs. Each can also be launched and backfilled from the UI."""

from collections.abc import Sequence
from typing import Any

import dagster as dg

from openthoughts_dagster.defs.asset_entry import AssetEntry

MODELS, QUESTIONS, STUDENTS, RANKINGS = "models", "refresh_questions", "students", "rankings"
ANSWERS, EVALUATION = "backfill_teacher", "evaluate_students"
RELEASE, RELEASE_TRAINING, RELEASE_PUSH = "release", "release_students", "push_release"
REFERENCES = "score_references"
STUDY_ANSWERS, STUDY_STUDENTS, STUDY_DECISION = "study_answers", "study_students", "study_decision"

_DESCRIPTIONS = {
    MODELS: "Train the tiny models of the quickstart.",
    QUESTIONS: "Read, score, select and clean the questions of sources.",
    ANSWERS: "Let a teacher answer: launch a backfill, and pick one teacher and the sources.",
    EVALUATION: "Train students on the answers that are there, and score them on the benchmarks.",
    REFERENCES: "Score models that students are compared with: the untrained student, the teachers, and others.",
    STUDENTS: "From questions to scores in one run for each source and teacher.",
    STUDY_ANSWERS: "Let the teachers of a study's arms answer: launch a backfill, and pick the arms.",
    STUDY_STUDENTS: "Train and score the students of a study: one for each arm and seed.",
    STUDY_DECISION: "Compare the arms of a study, and decide.",
    RELEASE: "Make the data set that is published, of the answers of one teacher.",
    RELEASE_TRAINING: "Train and score the student of the whole release of a teacher.",
    RELEASE_PUSH: "Push the release of a teacher to the hub. Only a person launches it.",
    RANKINGS: "Rank sources and teachers by the scores that are there, and sum up what everything cost.",
}


def recipe_jobs(entries: Sequence[AssetEntry]) -> list[Any]:
    """Make a job for each name that the catalogue's entries have.

    Raises:
        KeyError: A job has no description here.
    """
    names = dict.fromkeys(name for entry in entries for name in entry.jobs)
    return [
        dg.define_asset_job(
            name,
            selection=[entry.name for entry in entries if name in entry.jobs],
            description=_DESCRIPTIONS[name],
        )
        for name in names
    ]
