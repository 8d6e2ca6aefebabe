"""The student of the whole release: its settings, and its rows in bounded memory."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import polars as pl
from pydantic import ValidationError

from openthoughts_dagster.lake import Lake
from openthoughts_dagster.recipe import Recipe, Student
from openthoughts_dagster.recipe.presets import with_overrides
from openthoughts_dagster.release.choosing import release_of
from openthoughts_dagster.release.errors import ReleaseError
from openthoughts_dagster.release.texts import scan_rows
from openthoughts_dagster.training import SourceRows


def student_of_release(recipe: Recipe) -> Student:
    """Return the recipe's student with the settings of `release.student`.

    Settings of `training` change single settings of the recipe's. A preset takes the place of all of them.

    Raises:
        ReleaseError: The recipe has no release, or the settings together are no student.
    """
    over = release_of(recipe).student
    merged: dict[str, Any] = recipe.student.model_dump(exclude_unset=True) | over
    if "preset" in over:
        merged["training"] = over.get("training")
    elif isinstance(over.get("training"), Mapping):
        merged["training"] = with_overrides(recipe.student.settings(), over["training"])
        merged.pop("preset", None)
    try:
        return Student.model_validate({name: value for name, value in merged.items() if value is not None})
    except ValidationError as error:
        problem = error.errors()[0]
        where = ".".join(map(str, problem["loc"]))
        raise ReleaseError(f"release.student.{where}: {problem['msg']}") from error


def training_set_of_release(recipe: Recipe, teacher: str) -> str:
    """Return the name of the training set of the release, as `training_sets` has it."""
    return f"release.{release_of(recipe).name}.{teacher}"


def rows_of_release(lake: Lake, recipe: Recipe, teacher: str) -> pl.DataFrame:
    """Return the rows that the student learns from by name, in the release's order.

    They are all rows, or the first ones where `release.student.rows` gives a number: the order is random.
    """
    rows = scan_rows(lake, teacher).sort("position")
    count = release_of(recipe).student.get("rows")
    names = rows.select("source", "question_id", "sample_index", "model", "completion_id")
    return (names if count is None else names.head(count)).collect()


def sources_of_release(lake: Lake, recipe: Recipe, teacher: str) -> list[SourceRows]:
    """Count the rows that the student learns from by source and licence, for its model card."""
    count = release_of(recipe).student.get("rows")
    rows = scan_rows(lake, teacher).sort("position").select("source", "licence")
    counted = (rows if count is None else rows.head(count)).group_by("source", "licence").agg(pl.len())
    return [SourceRows(*row) for row in counted.sort("source", "licence").collect().iter_rows()]


def scan_training_rows(folder: Path, count: int) -> pl.LazyFrame:
    """Scan the texts of a version's first rows from its files, which have the release's order.

    Args:
        folder: The folder of the version.
        count: The number of rows.

    Returns:
        Columns question and text; reading them holds a few thousand rows in memory at the same time.

    Raises:
        ReleaseError: The folder has no rows.
    """
    files = sorted((folder / "data").glob("train-*.parquet"))
    if not files:
        raise ReleaseError(f"{folder} has no data/train-*.parquet: materialize reasoning_dataset again")
    turn = pl.col("conversations").list
    question, text = (turn.get(at).struct.field("value") for at in (0, 1))
    return pl.scan_parquet(files).select(question=question, text=text).head(count)
