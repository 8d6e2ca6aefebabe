"""The training that all assets of students share: train on rows, make the record, and show it."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import dagster as dg
import polars as pl

from openthoughts_dagster.answers import count_licences, write_training_set
from openthoughts_dagster.defs.kubernetes.several_nodes import nodes_launch
from openthoughts_dagster.defs.metadata import draw_line, sample_rows, side_by_side
from openthoughts_dagster.defs.resources import ModelsResource
from openthoughts_dagster.lake import Lake, Table
from openthoughts_dagster.recipe import Student
from openthoughts_dagster.training import SourceRows, Trained, train_student
from openthoughts_dagster.training.templates import OWN


def train_on_rows(
    models: ModelsResource,
    student: Student,
    rows: pl.DataFrame | pl.LazyFrame,
    log: Callable[[str], None],
    sources: Sequence[SourceRows] = (),
) -> tuple[Trained, str]:
    """Train a student, or find the one that was trained on the same rows with the same settings before.

    Args:
        models: The models and students.
        student: The base model and the settings of the training.
        rows: The columns question and text, in the order of the training set; a LazyFrame is read a part at a time.
        log: Gets lines of progress.
        sources: Where the rows come from, for the model card.

    Returns:
        The student, and the hash of its files, which is its data version.
    """
    models.pool.make_room()
    launch = nodes_launch(student, log)
    base = models.locate(student, weights=launch is None)
    trained = train_student(student, base, rows, models.students, log, launch=launch, sources=sources)
    reached = models.locate(student.model_copy(update={"model": trained.path, "revision": None}), weights=False)
    return trained, reached.identity.revision


def train_on_set(
    models: ModelsResource,
    student: Student,
    lake: Lake,
    name: str,
    questions: pl.LazyFrame,
    log: Callable[[str], None],
) -> tuple[Trained, str, pl.DataFrame]:
    """Train a student on a training set of the lake, as `train_on_rows` does.

    The rows go through a file, page by page, and are never in memory as a whole.

    Args:
        models: The models and students.
        student: The base model and the settings of the training.
        lake: The tables, with the training set.
        name: The name of the training set.
        questions: Columns source, question_id, question and licence of the questions that the set names.
        log: Gets lines of progress.

    Returns:
        The student, the hash of its files, which is its data version, and the first few rows.
    """
    sources = [SourceRows(*row) for row in count_licences(lake, name, questions).iter_rows()]
    Path(models.data).mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix="rows-", dir=models.data) as folder:
        first = write_training_set(lake, name, questions, Path(folder) / "rows.parquet")
        rows = pl.scan_parquet(Path(folder) / "rows.parquet")
        return *train_on_rows(models, student, rows, log, sources), first


def student_record(table: Table, trained: Trained, **labels: str | int) -> pl.DataFrame:
    """Make the row of a table of students. `labels` are the columns that say whose student it is."""
    record = {
        **labels,
        "path": trained.path,
        "fingerprint": trained.fingerprint,
        "rows": trained.rows,
        "dropped_rows": trained.dropped_rows,
        "steps": trained.steps,
        "train_tokens": trained.train_tokens,
        "seconds": trained.seconds,
        "final_loss": trained.losses[-1][1],
        "losses": json.dumps(trained.losses),
    }
    return pl.DataFrame([record], schema=table.schema)


def student_metadata(trained: Trained, rows: pl.DataFrame, title: str) -> dict[str, Any]:
    """Make the metadata of a student: its size, its loss, a few rows that it learned from, and what it answers."""
    curves = {"learning_rate": trained.learning_rates, "gradient_norm": trained.gradient_norms}
    return {
        "path": dg.MetadataValue.path(trained.path),
        "students_trained": int(not trained.reused),
        "dagster/row_count": trained.rows,
        "rows_dropped_too_long": trained.dropped_rows,
        "rows_cut_off": trained.cut_rows,
        "chat_template": ("the base model's" if trained.template == OWN else trained.template)
        + "; prompts are rendered as when the student is scored",
        **({"attention": trained.attention} if trained.attention else {}),
        "steps": trained.steps,
        "train_tokens": trained.train_tokens,
        "final_loss": round(trained.losses[-1][1], 4),
        "loss_curve": draw_line(trained.losses, f"Training loss, {title}", "step", "loss"),
        **{
            f"{name}_curve": draw_line(points, f"{name.replace('_', ' ').capitalize()}, {title}", "step", name)
            for name, points in curves.items()
            if points
        },
        "training_seconds": round(trained.seconds, 1),
        "sample": sample_rows(rows.select("question", "text")),
        **({"answers": side_by_side(pl.DataFrame(trained.answers))} if trained.answers else {}),
    }
