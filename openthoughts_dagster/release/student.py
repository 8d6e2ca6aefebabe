"""The student of the whole release: its settings, and its rows in bounded memory."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import polars as pl
from pyarrow.parquet import ParquetWriter
from pydantic import ValidationError

from openthoughts_dagster.answers import sample_rows
from openthoughts_dagster.answers.training_sets import TRAINING_ROWS, teacher_ended
from openthoughts_dagster.generation.reasoning import join_reasoning
from openthoughts_dagster.lake.reading import LakeReader
from openthoughts_dagster.recipe import Recipe, Student
from openthoughts_dagster.recipe.presets import with_overrides
from openthoughts_dagster.release.choosing import release_of
from openthoughts_dagster.release.errors import ReleaseError
from openthoughts_dagster.release.files import read_ledger, read_questions
from openthoughts_dagster.release.ordering import ordered_texts
from openthoughts_dagster.release.pool import QUESTION
from openthoughts_dagster.release.texts import scan_rows
from openthoughts_dagster.training import SourceRows

_COMPLETION = ("model", "completion_id")
_GROUP = 1000  # rows of a group in a Parquet file, which its readers hold together


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


def rows_of_release(lake: LakeReader, recipe: Recipe, teacher: str) -> pl.DataFrame:
    """Draw the rows that the student learns from by name, with the function of cells and arms.

    They are all rows of the release, or as many as `release.student.rows` says, in the order of the student's seed. So
    a release of one cell's answers makes the student of that cell.
    """
    rows, student = scan_rows(lake, teacher).collect(), student_of_release(recipe)
    count = release_of(recipe).student.get("rows") or rows.height
    return sample_rows(rows, count, student.seed, student.repeat_small_sources)


def sources_of_rows(lake: LakeReader, teacher: str, rows: pl.DataFrame) -> list[SourceRows]:
    """Count the rows that the student learns from by source and licence, for its model card."""
    licences = scan_rows(lake, teacher).select(*QUESTION, "licence").unique(QUESTION, keep="any").collect()
    counted = rows.join(licences, on=QUESTION, how="left").group_by("source", "licence").agg(pl.len())
    return [SourceRows(*row) for row in counted.sort("source", "licence").iter_rows()]


def write_training_rows(lake: LakeReader, rows: pl.DataFrame, path: Path) -> None:
    """Write questions and texts of rows, and whether these ended, to a Parquet file, in order and part by part.

    The texts are those that the teacher wrote, as cells and arms train on them. The published ones differ in the line
    breaks around the reasoning, which OpenThoughts3's form sets.

    Args:
        lake: The tables with the questions and completions of the rows.
        rows: Rows as `rows_of_release` returns them.
        path: The file. Beside it there is space for all texts a second time.

    Raises:
        ReleaseError: A question or completion of the rows is gone.
    """
    questions = read_questions(lake, rows).select(*QUESTION, "question")
    ledger = read_ledger(lake, rows).select("completion_id", "completion_tokens", teacher_ended())
    named = rows.join(ledger, on="completion_id", how="left", maintain_order="left")
    with ParquetWriter(path, TRAINING_ROWS) as writer:
        for page in ordered_texts(lake, named, path.parent):
            parts = page.select("reasoning", "answer").iter_rows()
            texts = pl.Series("text", [join_reasoning(*part) for part in parts], dtype=pl.String)
            full = page.join(questions, on=QUESTION, how="left", maintain_order="left").with_columns(texts)
            table = full.select(TRAINING_ROWS.names).to_arrow().cast(TRAINING_ROWS)
            writer.write_table(table, row_group_size=_GROUP)


def published_rows(lake: LakeReader, recipe: Recipe, teacher: str, folder: Path) -> tuple[pl.DataFrame, pl.LazyFrame]:
    """Return what earlier versions trained the student on: the first rows of the release as its files have them.

    Args:
        lake: The tables, with the rows of the release.
        recipe: The recipe with its release.
        teacher: The release's partition.
        folder: The folder of the version.

    Returns:
        The rows by name, and their columns question and text.
    """
    rows = scan_rows(lake, teacher).sort("position").select("source", "question_id", "sample_index", *_COMPLETION)
    count = release_of(recipe).student.get("rows")
    names = (rows if count is None else rows.head(count)).collect()
    turn = pl.col("conversations").list
    question, text = (turn.get(at).struct.field("value") for at in (0, 1))
    files = sorted((folder / "data").glob("train-*.parquet"))
    return names, pl.scan_parquet(files).select(question=question, text=text).head(names.height)
