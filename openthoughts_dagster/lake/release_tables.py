"""Tables of releases: the rows, the funnel, what was left out, the versions, and the student of the whole."""

import polars as pl

from openthoughts_dagster.lake.student_tables import BENCHMARK_SCORES, STUDENT_CHECKPOINTS
from openthoughts_dagster.lake.table import Column, Table

_TEACHER = {"teacher": Column(pl.String, "Name of the teacher in the recipe, which is the release's partition")}
_SOURCE = Column(pl.String, "Name of the source in the recipe")
_QUESTION_ID = Column(pl.String, "Id of the question in `deduped_questions`")

REASONING_DATASET = Table(
    "reasoning_dataset",
    "The rows of the release by name; `Lake` joins the texts of questions and completions.",
    _TEACHER
    | {
        "position": Column(pl.Int64, "Place in the release's seeded order, from 0"),
        "source": _SOURCE,
        "question_id": _QUESTION_ID,
        "sample_index": Column(pl.Int32, "Which sample of the same prompt, from 0"),
        "domain": Column(pl.String, "Domain of the source"),
        "licence": Column(pl.String, "Licence of the question as its source states it"),
        "model": Column(pl.String, "Model id and revision; `local@` and the hash of its files for a folder"),
        "completion_id": Column(pl.String, "Id of the completion in `completions`"),
        "content": Column(pl.String, "Hash of reasoning and answer"),
        "difficulty": Column(
            pl.Int64, "Judge's rating of the question, from 1 to 10; null where the domain has none", nullable=True
        ),
        "agreement": Column(
            pl.Float64,
            "Share of the question's answers whose result is the majority's; null unless `majority` asks for it",
            nullable=True,
        ),
        "majority": Column(
            pl.Boolean,
            "Whether this answer's result is the majority's; null unless `majority` asks for it",
            nullable=True,
        ),
    },
    ("teacher",),
)
RELEASE_FUNNEL = Table(
    "release_funnel",
    "How many questions and answers of each source are left after every step of the release.",
    _TEACHER
    | {
        "order": Column(pl.Int32, "Place of the step, from 0"),
        "step": Column(pl.String, "The step"),
        "source": _SOURCE,
        "domain": Column(pl.String, "Domain of the source"),
        "questions": Column(pl.Int64, "Questions that are left"),
        "answers": Column(pl.Int64, "Answers to them that are left"),
        "note": Column(pl.String, "What the step did here; empty when it changed nothing"),
    },
    ("teacher",),
)
REJECTED_RELEASE = Table(
    "rejected_release",
    "The questions and answers that the release left out, with the step, the reason and its evidence.",
    _TEACHER
    | {
        "source": _SOURCE,
        "question_id": _QUESTION_ID,
        "sample_index": Column(pl.Int32, "The answer; null where the whole question was left out", nullable=True),
        "step": Column(pl.String, "The step of the release that left it out"),
        "reason": Column(pl.String, "One of a few short names, to count by"),
        "evidence": Column(pl.String, "What a person needs to agree or not"),
    },
    ("teacher",),
)
RELEASE_VERSIONS = Table(
    "release_versions",
    "Every version of the release that was made; rows are only ever added.",
    _TEACHER
    | {
        "version": Column(pl.String, "Hash of the manifest's row hashes: equal rows are one version"),
        "made_at": Column(pl.Datetime("us", "UTC"), "When it was made, UTC"),
        "path": Column(pl.String, "Folder or address of its files"),
        "rows": Column(pl.Int64, "Number of rows"),
        "questions": Column(pl.Int64, "Number of questions"),
        "record": Column(
            pl.String,
            "What it was made from, as JSON: recipe, lock file, versions of tables, code and libraries, hash of the "
            "manifest, and by how much it is short and why",
        ),
    },
    ("teacher",),
)
KEPT_FOR_RELEASES = ("deduped_questions", REASONING_DATASET.name, REJECTED_RELEASE.name, RELEASE_FUNNEL.name)
"""The tables whose versions a release is rebuilt from; maintenance keeps their files. The ledger only grows."""


def _own(table: Table, *without: str) -> dict[str, Column]:
    return {name: column for name, column in table.definition.items() if name not in without}


RELEASE_STUDENTS = Table(
    "release_student",
    "Where the student of the whole release is, its fingerprint, and how its training went.",
    _TEACHER
    | {"version": Column(pl.String, "Version of the release that it learned from")}
    | _own(STUDENT_CHECKPOINTS, "source", "teacher"),
    ("teacher",),
)
RELEASE_SCORES = Table(
    "release_scores",
    "One item of a benchmark: the score of the student of the whole release.",
    _TEACHER
    | {"version": Column(pl.String, "Version of the release that the student learned from")}
    | _own(BENCHMARK_SCORES, "source", "teacher"),
    ("teacher",),
)
