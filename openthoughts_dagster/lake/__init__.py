"""Tables on disk or object store."""

from openthoughts_dagster.lake.hashing import folder_hash, frame_hash, text_hash, text_hashes, value_hash
from openthoughts_dagster.lake.lake import Lake, LakeError, SchemaError, conform
from openthoughts_dagster.lake.schemas import (
    ANSWER_PLANS,
    BENCHMARK_SCORES,
    COMPLETIONS,
    DEDUPED_QUESTIONS,
    GENERATION_COSTS,
    RAW_SOURCES,
    REJECTED_ANSWERS,
    REJECTED_QUESTIONS,
    SCORED_QUESTIONS,
    SOURCE_RANKING,
    STUDENT_CHECKPOINTS,
    TABLES,
    TEACHER_ANSWERS,
    TEACHER_RANKING,
    Table,
)

__all__ = [
    "ANSWER_PLANS",
    "BENCHMARK_SCORES",
    "COMPLETIONS",
    "DEDUPED_QUESTIONS",
    "GENERATION_COSTS",
    "RAW_SOURCES",
    "REJECTED_ANSWERS",
    "REJECTED_QUESTIONS",
    "SCORED_QUESTIONS",
    "SOURCE_RANKING",
    "STUDENT_CHECKPOINTS",
    "TABLES",
    "TEACHER_ANSWERS",
    "TEACHER_RANKING",
    "Lake",
    "LakeError",
    "SchemaError",
    "Table",
    "conform",
    "folder_hash",
    "frame_hash",
    "text_hash",
    "text_hashes",
    "value_hash",
]
