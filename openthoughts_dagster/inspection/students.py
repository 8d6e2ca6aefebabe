"""Finding the scores of a student by the names that people use."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import polars as pl

from openthoughts_dagster.lake import (
    ARM_SCORES,
    ARM_STUDENTS,
    BENCHMARK_SCORES,
    REFERENCE_SCORES,
    RELEASE_SCORES,
    RELEASE_STUDENTS,
    STUDENT_CHECKPOINTS,
    Lake,
    Table,
)


class StudentNotFound(LookupError):
    """No student of this name is scored; the message says which names there are."""


@dataclass(frozen=True)
class ScoredStudent:
    """A student, or another model, whose scores are in the lake.

    Args:
        label: Its name for people.
        scores: The table of its scores.
        partition: The columns and values of its partition of that table.
        students: The table of its training; None for a model that was not trained here.
    """

    label: str
    scores: Table
    partition: Mapping[str, str]
    students: Table | None = None


_KINDS = (
    (BENCHMARK_SCORES, STUDENT_CHECKPOINTS),
    (ARM_SCORES, ARM_STUDENTS),
    (RELEASE_SCORES, RELEASE_STUDENTS),
    (REFERENCE_SCORES, None),
)


def find_student(lake: Lake, name: str) -> ScoredStudent:
    """Find the scores of a student.

    Args:
        lake: The tables.
        name: A cell as SOURCE/TEACHER or SOURCE|TEACHER, the student of an arm as STUDY.ARM.SEED, the teacher of a
            release (or release:TEACHER), a reference by its name (or reference:NAME), or a student's fingerprint.

    Raises:
        StudentNotFound: Nothing of this name is scored.
    """
    for found in _candidates(lake, name):
        if lake.scan(found.scores, **found.partition).head(1).collect().height:
            return found
    known = [student.label for student in scored_students(lake)]
    there = ", ".join(known[:20]) + (f" and {len(known) - 20:,} more" if len(known) > 20 else "")
    raise StudentNotFound(
        f"no scores of {name!r}; there are scores of {there or 'nothing yet: materialize benchmark_scores'}"
    )


def scored_students(lake: Lake) -> Iterator[ScoredStudent]:
    """Yield everything that has scores: cells, arms, releases, references."""
    yield from _students_where(lake, pl.lit(True))


def students_with(lake: Lake, completion_id: str) -> Iterator[ScoredStudent]:
    """Yield the students of whose scores a completion is part."""
    yield from _students_where(lake, pl.col("samples").str.contains(completion_id, literal=True))


def _students_where(lake: Lake, condition: pl.Expr) -> Iterator[ScoredStudent]:
    for scores, students in _KINDS:
        names = lake.scan(scores).filter(condition).select(scores.partition_by).unique()
        for row in names.sort(scores.partition_by).collect().iter_rows(named=True):
            yield ScoredStudent(_label(scores, row), scores, row, students)


def _candidates(lake: Lake, name: str) -> Iterator[ScoredStudent]:
    kind, _, rest = name.partition(":")
    if kind in ("release", "reference") and rest:
        scores, students = _KINDS[2] if kind == "release" else _KINDS[3]
        yield _student(scores, students, rest)
        return
    for separator in "|/":
        if separator in name:
            source, _, teacher = name.rpartition(separator)
            partition = {"source": source, "teacher": teacher}
            yield ScoredStudent(_label(BENCHMARK_SCORES, partition), BENCHMARK_SCORES, partition, STUDENT_CHECKPOINTS)
            return
    yield _student(ARM_SCORES, ARM_STUDENTS, name)
    yield _student(RELEASE_SCORES, RELEASE_STUDENTS, name)
    yield _student(REFERENCE_SCORES, None, name)
    for scores, students in _KINDS:
        if students is not None:
            rows = lake.scan(students).filter(pl.col("fingerprint") == name).select(scores.partition_by).collect()
            for row in rows.iter_rows(named=True):
                yield ScoredStudent(_label(scores, row), scores, row, students)


def _student(scores: Table, students: Table | None, key: str) -> ScoredStudent:
    partition = {scores.partition_by[0]: key}
    return ScoredStudent(_label(scores, partition), scores, partition, students)


def _label(scores: Table, partition: Mapping[str, str]) -> str:
    prefix = {RELEASE_SCORES.name: "release:", REFERENCE_SCORES.name: "reference:"}.get(scores.name, "")
    return prefix + "/".join(partition[column] for column in scores.partition_by)
