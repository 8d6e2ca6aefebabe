"""All tables of the lake. A write that does not fit its table raises an error; nothing is coerced silently."""

from openthoughts_dagster.lake.answer_tables import (
    ANSWER_PLANS,
    COMPLETIONS,
    GENERATION_COSTS,
    REJECTED_ANSWERS,
    TEACHER_ANSWERS,
    TRAINING_SETS,
)
from openthoughts_dagster.lake.question_tables import (
    DEDUPED_QUESTIONS,
    EMBEDDINGS,
    RAW_SOURCES,
    REJECTED_QUESTIONS,
    SCORED_QUESTIONS,
    SOURCE_READINGS,
    WATCHED_SOURCES,
)
from openthoughts_dagster.lake.student_tables import (
    BENCHMARK_SCORES,
    LAKE_RECIPES,
    SOURCE_RANKING,
    STUDENT_CHECKPOINTS,
    TEACHER_RANKING,
)
from openthoughts_dagster.lake.study_tables import (
    ARM_ANSWERS,
    ARM_PLANS,
    ARM_QUESTIONS,
    ARM_SCORES,
    ARM_STUDENTS,
    REJECTED_ARM_ANSWERS,
    STUDY_COMPARISONS,
    STUDY_RESULTS,
    STUDY_VERSIONS,
)
from openthoughts_dagster.lake.table import Column, Table

__all__ = [
    "ANSWER_PLANS",
    "ARM_ANSWERS",
    "ARM_PLANS",
    "ARM_QUESTIONS",
    "ARM_SCORES",
    "ARM_STUDENTS",
    "BENCHMARK_SCORES",
    "COMPLETIONS",
    "DEDUPED_QUESTIONS",
    "EMBEDDINGS",
    "GENERATION_COSTS",
    "LAKE_RECIPES",
    "RAW_SOURCES",
    "REJECTED_ANSWERS",
    "REJECTED_ARM_ANSWERS",
    "REJECTED_QUESTIONS",
    "SCORED_QUESTIONS",
    "SOURCE_RANKING",
    "SOURCE_READINGS",
    "STUDENT_CHECKPOINTS",
    "STUDY_COMPARISONS",
    "STUDY_RESULTS",
    "STUDY_VERSIONS",
    "TABLES",
    "TEACHER_ANSWERS",
    "TEACHER_RANKING",
    "TRAINING_SETS",
    "WATCHED_SOURCES",
    "Column",
    "Table",
]

TABLES = {
    table.name: table
    for table in (
        RAW_SOURCES,
        SOURCE_READINGS,
        SCORED_QUESTIONS,
        DEDUPED_QUESTIONS,
        REJECTED_QUESTIONS,
        COMPLETIONS,
        EMBEDDINGS,
        ANSWER_PLANS,
        TEACHER_ANSWERS,
        REJECTED_ANSWERS,
        TRAINING_SETS,
        GENERATION_COSTS,
        STUDENT_CHECKPOINTS,
        BENCHMARK_SCORES,
        SOURCE_RANKING,
        TEACHER_RANKING,
        WATCHED_SOURCES,
        LAKE_RECIPES,
        ARM_ANSWERS,
        ARM_PLANS,
        ARM_QUESTIONS,
        ARM_SCORES,
        ARM_STUDENTS,
        REJECTED_ARM_ANSWERS,
        STUDY_COMPARISONS,
        STUDY_RESULTS,
        STUDY_VERSIONS,
    )
}
