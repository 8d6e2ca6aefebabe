"""Tables of studies: questions, answers, students and scores of their arms, and the results."""

import polars as pl

from openthoughts_dagster.lake.answer_tables import ANSWER_PLANS, REJECTED_ANSWERS, TEACHER_ANSWERS
from openthoughts_dagster.lake.student_tables import BENCHMARK_SCORES, STUDENT_CHECKPOINTS
from openthoughts_dagster.lake.table import Column, Table

_TIME = pl.Datetime("us", "UTC")
_ARM = {"arm": Column(pl.String, "The arm: STUDY.ARM")}
_STUDENT = {
    "arm_student": Column(pl.String, "The student: STUDY.ARM.SEED"),
    "study": Column(pl.String, "Name of the study"),
    "version": Column(pl.String, "Hash of what the study asked when this student was trained"),
    "arm_name": Column(pl.String, "Name of the arm in the study"),
    "seed": Column(pl.Int64, "Seed of sampling and training"),
}


def _own(table: Table, *without: str) -> dict[str, Column]:
    return {name: column for name, column in table.definition.items() if name not in without}


ARM_QUESTIONS = Table(
    "arm_questions",
    "The questions of an arm, in the order of its design: a larger design begins with the same ones.",
    _ARM
    | {
        "position": Column(pl.Int32, "Place in the design, from 0"),
        "source": Column(pl.String, "Source of the question"),
        "question_id": Column(pl.String, "Hash of the question's text"),
    },
    ("arm",),
)
ARM_PLANS = Table(
    "arm_plans",
    "A question of an arm, its completion key, and the shard that asks for what is missing.",
    _ARM | _own(ANSWER_PLANS, "teacher"),
    ("arm",),
)
ARM_ANSWERS = Table(
    "arm_answers",
    "Which completion of the ledger is the answer to a question and sample of an arm.",
    _ARM | _own(TEACHER_ANSWERS, "teacher"),
    ("arm",),
)
REJECTED_ARM_ANSWERS = Table(
    "rejected_arm_answers",
    "An answer of an arm that is not used, with its reason.",
    _ARM | _own(REJECTED_ANSWERS, "teacher"),
    ("arm",),
)
ARM_STUDENTS = Table(
    "arm_student",
    "Where the student of an arm and a seed is, its fingerprint, and how its training went.",
    _STUDENT | _own(STUDENT_CHECKPOINTS, "source", "teacher"),
    ("arm_student",),
)
ARM_SCORES = Table(
    "arm_scores",
    "One item of a benchmark: the score of an arm's student with one seed.",
    _STUDENT
    | _own(BENCHMARK_SCORES, "source", "teacher")
    | {
        "fingerprint": Column(
            pl.String, "Fingerprint of the student that was scored; null in older rows", nullable=True, since=4
        )
    },
    ("arm_student",),
)
STUDY_VERSIONS = Table(
    "study_versions",
    "What a study asked, frozen when its first student started; a later change is another version.",
    {
        "study": Column(pl.String, "Name of the study"),
        "version": Column(pl.String, "Hash of what it asked"),
        "number": Column(pl.Int64, "Counts the versions of the study, from 1"),
        "definition": Column(pl.String, "What it asked, as JSON"),
        "frozen_at": Column(_TIME, "When its first student started, UTC"),
        "settings": Column(
            pl.String,
            "Hash of all settings that decide its students, decontamination and sources too; null in older rows",
            nullable=True,
            since=2,
        ),
    },
    ("study",),
)
STUDY_RESULTS = Table(
    "study_results",
    "An arm of a study: its score with both errors, and what it consisted of.",
    {
        "study": Column(pl.String, "Name of the study"),
        "version": Column(pl.String, "Hash of what it asked"),
        "arm_name": Column(pl.String, "Name of the arm"),
        "score": Column(pl.Float64, "Mean of the study's metric over seeds"),
        "error_items": Column(pl.Float64, "Standard error over benchmark items"),
        "error_seeds": Column(pl.Float64, "Standard error over training seeds; null with one seed", nullable=True),
        "error": Column(pl.Float64, "Standard error over both"),
        "chance_best": Column(pl.Float64, "Share of resamples in which the arm is among the study's `best`"),
        "seeds": Column(pl.Int64, "Students that were scored"),
        "items": Column(pl.Int64, "Benchmark items that all arms were scored on"),
        "questions": Column(pl.Int64, "Questions of the arm"),
        "answers": Column(pl.Int64, "Answers that its students could learn from"),
        "rows": Column(pl.Float64, "Rows that a student learned from, mean over seeds"),
        "train_tokens": Column(pl.Float64, "Tokens that a student learned from, mean over seeds"),
        "steps": Column(pl.Float64, "Optimizer steps of a student, mean over seeds"),
        "truncated": Column(pl.Float64, "Share of its answers that are cut off"),
        "final_loss": Column(pl.Float64, "Training loss at the end, mean over seeds"),
        "decision": Column(pl.String, "The decision of the study, as a sentence"),
        "leaked_questions": Column(
            pl.Int64,
            "Training questions that leak from the benchmarks that decide; null where it is unknown, and in older rows",
            nullable=True,
            since=2,
        ),
    },
    ("study",),
)
STUDY_COMPARISONS = Table(
    "study_comparisons",
    "Two arms of a study on the same items and seeds.",
    {
        "study": Column(pl.String, "Name of the study"),
        "version": Column(pl.String, "Hash of what it asked"),
        "first": Column(pl.String, "The arm with the higher score"),
        "second": Column(pl.String, "The other arm"),
        "difference": Column(pl.Float64, "Score of the first less that of the second"),
        "error": Column(pl.Float64, "Standard error of `difference` over items and seeds"),
        "p_holm": Column(pl.Float64, "P-value of no difference, corrected for all pairs of the study"),
        "p_equivalent": Column(
            pl.Float64, "P-value of a difference beyond the margin; null without a margin", nullable=True
        ),
        "detectable": Column(pl.Float64, "Smallest true difference that this design finds in four of five studies"),
        "seeds_needed": Column(
            pl.Int64, "Seeds that would find a difference of this size; null where 100 are too few", nullable=True
        ),
        "items_needed": Column(
            pl.Int64,
            "Benchmark items that would find it with these seeds; null where 100 times as many are too few, and in "
            "older rows",
            nullable=True,
            since=2,
        ),
    },
    ("study",),
)
