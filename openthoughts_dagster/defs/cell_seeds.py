"""The students of a cell with other seeds than its own: `student.seeds` of the recipe.

A cell's own student, with `student.seed`, is in `student_checkpoint`, as it always was. The others are trained and
scored beside it in the same partitions, and stand in tables of their own.
"""

from collections.abc import Callable
from dataclasses import dataclass

import polars as pl

from openthoughts_dagster.answers import publish_training_set, sample_rows
from openthoughts_dagster.defs.resources import ModelsResource
from openthoughts_dagster.defs.student_scoring import score_on_benchmarks
from openthoughts_dagster.defs.student_training import student_record, train_on_set
from openthoughts_dagster.evaluation import scores_version
from openthoughts_dagster.lake import (
    BENCHMARK_SCORES,
    DEDUPED_QUESTIONS,
    SEED_SCORES,
    SEED_STUDENTS,
    TEACHER_ANSWERS,
    Lake,
    Table,
    value_hash,
)
from openthoughts_dagster.recipe import Recipe, Student

Log = Callable[[str], None]


@dataclass(frozen=True)
class OtherSeeds:
    """The students of a cell's other seeds: how many were trained now, and the versions of all."""

    trained: int
    versions: tuple[str, ...]

    def data_version(self, own: str) -> str:
        """Return the data version of the cell; that of its own student where it has no other."""
        return value_hash([own, *self.versions]) if self.versions else own


def train_other_seeds(
    models: ModelsResource, lake: Lake, student: Student, cell: tuple[str, str], log: Log
) -> OtherSeeds:
    """Train the students of a cell's other seeds, each on rows that its own seed draws.

    Args:
        models: The models and students.
        lake: The tables, with the cell's answers.
        student: The recipe's student, with its seeds.
        cell: Source and teacher.
        log: Takes lines of progress.
    """
    source, teacher = cell
    answers = lake.scan(TEACHER_ANSWERS, source=source, teacher=teacher).collect()
    questions = lake.scan(DEDUPED_QUESTIONS, source=source)
    records, versions, trained = [], [], 0
    for seed in student.other_seeds:
        own, name = student.model_copy(update={"seed": seed}), f"{source}|{teacher}|{seed}"
        publish_training_set(lake, name, sample_rows(answers, own.rows, seed, own.repeat_small_sources))
        done, version, _ = train_on_set(models, own, lake, name, questions, log)
        records.append(student_record(SEED_STUDENTS, done, source=source, teacher=teacher, seed=seed))
        versions.append(version)
        trained += int(not done.reused)
    _replace(lake, SEED_STUDENTS, records, cell)
    return OtherSeeds(trained, tuple(versions))


def score_other_seeds(
    models: ModelsResource, lake: Lake, recipe: Recipe, asset: str, cell: tuple[str, str], log: Log
) -> Callable[[str], str]:
    """Score the students of a cell's other seeds on every benchmark.

    Args:
        models: The models, and the engines.
        lake: The tables, with the students.
        recipe: The recipe.
        asset: The asset that pays for the answers.
        cell: Source and teacher.
        log: Takes lines of progress.

    Returns:
        A function from the data version of the cell's own scores to that of all.
    """
    source, teacher = cell
    students = lake.scan(SEED_STUDENTS, source=source, teacher=teacher).sort("seed").collect()
    parts, versions = [], []
    for seed, path in students.select("seed", "path").iter_rows():
        names = (asset, source, f"{source}|{teacher}|seed-{seed}")
        scored = score_on_benchmarks(models, lake, recipe, recipe.student, path, names, log, teacher)
        rows = scored.scores.rows(source=source, teacher=teacher)
        parts.append(rows.with_columns(seed=pl.lit(seed, dtype=pl.Int64)).select(list(SEED_SCORES.columns)))
        versions.append(scores_version(rows))
    _replace(lake, SEED_SCORES, parts, cell)
    return OtherSeeds(0, tuple(versions)).data_version


def cell_scores(lake: Lake, student: Student) -> pl.DataFrame:
    """Return the scores of all cells with a column seed: those of the cells' own students, and of their other seeds."""
    own = lake.scan(BENCHMARK_SCORES).with_columns(seed=pl.lit(student.seed, dtype=pl.Int64))
    others = lake.scan(SEED_SCORES).filter(pl.col("seed").is_in(student.other_seeds))
    return pl.concat([own, others.select(own.collect_schema().names())]).collect()


def _replace(lake: Lake, table: Table, parts: list[pl.DataFrame], cell: tuple[str, str]) -> None:
    """Replace a cell's rows; a cell that never had other seeds touches no table."""
    source, teacher = cell
    if parts or not lake.scan(table, source=source, teacher=teacher).head(1).collect().is_empty():
        rows = pl.concat(parts) if parts else pl.DataFrame(schema=table.schema)
        lake.replace(table, rows, source=source, teacher=teacher)
