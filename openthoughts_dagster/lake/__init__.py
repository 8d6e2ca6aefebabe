"""Tables on disk or object store."""

from openthoughts_dagster.lake.hashing import folder_hash, frame_hash, text_hash, value_hash
from openthoughts_dagster.lake.lake import Lake, LakeError, SchemaError, conform
from openthoughts_dagster.lake.schemas import (
    BENCHMARK_SCORES,
    COMPLETIONS,
    DEDUPED_QUESTIONS,
    RAW_SOURCES,
    REJECTED_ANSWERS,
    REJECTED_QUESTIONS,
    SCORED_QUESTIONS,
    SOURCE_RANKING,
    STUDENT_CHECKPOINTS,
    TABLES,
    TEACHER_ANSWERS,
    TEACHER_RANKING,
    WATCHED_SOURCES,
    Table,
)

__all__ = [
    "BENCHMARK_SCORES",
    "COMPLETIONS",
    "DEDUPED_QUESTIONS",
    "RAW_SOURCES",
    "REJECTED_ANSWERS",
    "REJECTED_QUESTIONS",
    "SCORED_QUESTIONS",
    "SOURCE_RANKING",
    "STUDENT_CHECKPOINTS",
    "TABLES",
    "TEACHER_ANSWERS",
    "TEACHER_RANKING",
    "WATCHED_SOURCES",
    "Lake",
    "LakeError",
    "SchemaError",
    "Table",
    "conform",
    "folder_hash",
    "frame_hash",
    "text_hash",
    "value_hash",
]
