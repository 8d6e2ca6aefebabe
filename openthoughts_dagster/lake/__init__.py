"""The tables of a deployment, on a disk or in an object store."""

from openthoughts_dagster.lake.answer_tables import (
    ANSWER_PLANS,
    COMPLETIONS,
    GENERATION_COSTS,
    REJECTED_ANSWERS,
    REQUEST_BATCHES,
    TEACHER_ANSWERS,
    TRAINING_SETS,
)
from openthoughts_dagster.lake.errors import LakeError, SchemaError
from openthoughts_dagster.lake.hashing import (
    batches_hash,
    file_digest,
    files_hash,
    folder_hash,
    frame_hash,
    text_hash,
    text_hashes,
    value_hash,
)
from openthoughts_dagster.lake.lake import Lake
from openthoughts_dagster.lake.made_with import begin_rows, other_settings, record_settings
from openthoughts_dagster.lake.maintenance import Maintenance, describe_maintenance
from openthoughts_dagster.lake.question_tables import (
    DEDUPED_QUESTIONS,
    EMBEDDINGS,
    MADE_WITH,
    RAW_SOURCES,
    REJECTED_QUESTIONS,
    SCORED_QUESTIONS,
    SOURCE_READINGS,
    WATCHED_SOURCES,
)
from openthoughts_dagster.lake.reading import read_slices
from openthoughts_dagster.lake.recipe_uses import RecipeUse, other_recipes, record_recipe_use
from openthoughts_dagster.lake.release_tables import (
    REASONING_DATASET,
    REJECTED_RELEASE,
    RELEASE_FUNNEL,
    RELEASE_SCORES,
    RELEASE_STUDENTS,
    RELEASE_VERSIONS,
)
from openthoughts_dagster.lake.rows import conform
from openthoughts_dagster.lake.schemas import TABLES
from openthoughts_dagster.lake.student_tables import (
    BENCHMARK_SCORES,
    LAKE_RECIPES,
    REFERENCE_SCORES,
    SEED_SCORES,
    SEED_STUDENTS,
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
    "MADE_WITH",
    "RAW_SOURCES",
    "REASONING_DATASET",
    "REFERENCE_SCORES",
    "REJECTED_ANSWERS",
    "REJECTED_ARM_ANSWERS",
    "REJECTED_QUESTIONS",
    "REJECTED_RELEASE",
    "RELEASE_FUNNEL",
    "RELEASE_SCORES",
    "RELEASE_STUDENTS",
    "RELEASE_VERSIONS",
    "REQUEST_BATCHES",
    "SCORED_QUESTIONS",
    "SEED_SCORES",
    "SEED_STUDENTS",
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
    "Lake",
    "LakeError",
    "Maintenance",
    "RecipeUse",
    "SchemaError",
    "Table",
    "batches_hash",
    "begin_rows",
    "conform",
    "describe_maintenance",
    "file_digest",
    "files_hash",
    "folder_hash",
    "frame_hash",
    "other_recipes",
    "other_settings",
    "read_slices",
    "record_recipe_use",
    "record_settings",
    "text_hash",
    "text_hashes",
    "value_hash",
]
