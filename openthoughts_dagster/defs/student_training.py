"""The training that all assets of students share: train on rows, make the record, and show it."""

import json
from collections.abc import Callable
from typing import Any

import dagster as dg
import polars as pl

from openthoughts_dagster.defs.kubernetes.several_nodes import nodes_launch
from openthoughts_dagster.defs.metadata import line, sample_rows
from openthoughts_dagster.defs.resources import ModelsResource
from openthoughts_dagster.lake import Table
from openthoughts_dagster.recipe import Student
from openthoughts_dagster.training import Trained, train_student


def train_on_rows(
    models: ModelsResource, student: Student, rows: pl.DataFrame | pl.LazyFrame, log: Callable[[str], None]
) -> tuple[Trained, str]:
    """Train a student, or find the one that was trained on the same rows with the same settings before.

    Args:
        models: The models and students.
        student: The base model and the settings of the training.
        rows: The columns question and text, in the order of the training set; a LazyFrame is read a part at a time.
        log: Gets lines of progress.

    Returns:
        The student, and the hash of its files, which is its data version.
    """
    models.pool.make_room()
    launch = nodes_launch(student, log)
    base = models.locate(student, weights=launch is None)
    trained = train_student(student, base, rows, models.students, log, launch=launch)
    reached = models.locate(student.model_copy(update={"model": trained.path, "revision": None}), weights=False)
    return trained, reached.identity.revision


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
    """Make the metadata of a student: its size, its loss, and a few rows that it learned from."""
    curves = {"learning_rate": trained.learning_rates, "gradient_norm": trained.gradient_norms}
    return {
        "path": dg.MetadataValue.path(trained.path),
        "students_trained": int(not trained.reused),
        "dagster/row_count": trained.rows,
        "rows_dropped_too_long": trained.dropped_rows,
        "rows_cut_off": trained.cut_rows,
        "chat_template": trained.template,
        "steps": trained.steps,
        "train_tokens": trained.train_tokens,
        "final_loss": round(trained.losses[-1][1], 4),
        "loss_curve": line(trained.losses, f"Training loss, {title}", "step", "loss"),
        **{
            f"{name}_curve": line(points, f"{name.replace('_', ' ').capitalize()}, {title}", "step", name)
            for name, points in curves.items()
            if points
        },
        "training_seconds": round(trained.seconds, 1),
        "sample": sample_rows(rows.select("question", "text")),
    }
