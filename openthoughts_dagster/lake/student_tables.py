"""Tables of students: their checkpoints, scores and rankings; and the recipes that wrote to a lake."""

import polars as pl

from openthoughts_dagster.lake.answer_tables import CELL
from openthoughts_dagster.lake.table import Column, Kind, Table

_TIME = pl.Datetime("us", "UTC")


def _later(kind: Kind, description: str) -> Column:
    """Make a column that rows of earlier versions lack."""
    return Column(kind, description, nullable=True, since=2)


def _varied(kind: Kind, description: str) -> Column:
    """Make a column of the third version, which tells the errors over items and over seeds apart."""
    return Column(kind, description, nullable=True, since=3)


def _shown(description: str) -> Column:
    """Make a column of the third version, which lets a person look at an item's answers."""
    return Column(pl.String, description, nullable=True, since=3)


STUDENT_CHECKPOINTS = Table(
    "student_checkpoint",
    "Where the student of a cell is, its fingerprint, and how its training went.",
    CELL
    | {
        "path": Column(pl.String, "Folder or address of the student's weights"),
        "fingerprint": Column(pl.String, "Hash of base model, rows and settings: equal ones are one training"),
        "rows": Column(pl.Int64, "Rows that it learned from"),
        "dropped_rows": Column(pl.Int64, "Rows that were left out because they are longer than max_length"),
        "steps": Column(pl.Int64, "Optimizer steps"),
        "train_tokens": Column(pl.Int64, "Tokens that it learned from, over all epochs"),
        "seconds": Column(pl.Float64, "Seconds that the training took"),
        "final_loss": Column(pl.Float64, "Training loss at the last step that was logged"),
        "losses": Column(pl.String, "Training losses, as a JSON list of [step, loss]"),
    },
    ("source", "teacher"),
)
BENCHMARK_SCORES = Table(
    "benchmark_scores",
    "One item of a benchmark: the student's score, beside that of the same model before training.",
    CELL
    | {
        "benchmark": Column(pl.String, "Name of the benchmark in the recipe"),
        "metric": Column(pl.String, "Name of the metric"),
        "item": Column(pl.String, "Id of the benchmark's question"),
        "score": Column(pl.Float64, "The student's score from 0 to 1, mean over the repeats"),
        "repeats": Column(pl.Int32, "How often the item was answered"),
        "untrained_score": Column(pl.Float64, "Score of the student's base model before training, from 0 to 1"),
        "position": _later(pl.Int32, "Place of the item in the benchmark, from 0; null in rows of earlier versions"),
        "failed": _later(pl.Int32, "Number of samples whose requests failed, which count as wrong"),
        "truncated": _later(pl.Int32, "Number of samples that were cut off at max_tokens"),
        "no_answer": _later(pl.Int32, "Number of samples that were answered and in which no answer was found"),
        "reference": _shown("The benchmark's own answer; null where programs are tested, and in older rows"),
        "model": _shown("The student's partition of `completions`; null in older rows"),
        "samples": _shown(
            "What was answered, as a JSON list of {completion_id, extracted, score} in the order of the repeats; null "
            "in older rows"
        ),
    },
    ("source", "teacher"),
)
_SEED = {"seed": Column(pl.Int64, "Seed of sampling and training")}
SEED_STUDENTS = Table(
    "seed_students",
    "The students of a cell with other seeds than its own student in `student_checkpoint`.",
    CELL | _SEED | {name: column for name, column in STUDENT_CHECKPOINTS.definition.items() if name not in CELL},
    ("source", "teacher"),
)
SEED_SCORES = Table(
    "seed_scores",
    "One item of a benchmark: the score of a cell's student with another seed.",
    CELL | _SEED | {name: column for name, column in BENCHMARK_SCORES.definition.items() if name not in CELL},
    ("source", "teacher"),
)
REFERENCE_SCORES = Table(
    "reference_scores",
    "One item of a benchmark: the score of a model that was not trained here, for comparison with students.",
    {"compared_model": Column(pl.String, "Name of a teacher, of one of `evaluation.references`, or `untrained`")}
    | {name: column for name, column in BENCHMARK_SCORES.definition.items() if name not in (*CELL, "untrained_score")},
    ("compared_model",),
)


def _ranking(by: str) -> Table:
    return Table(
        f"{by}_ranking",
        f"Every {by} by the scores of its students, with the standard error and the difference to the next.",
        {
            "rank": Column(pl.Int32, "Place, from 1; null when no item is common to all", nullable=True),
            by: Column(pl.String, f"Name of the {by} in the recipe"),
            "domain": Column(pl.String, "Domain of the sources that were compared, or `all`", default="all", since=2),
            "score": Column(pl.Float64, "Mean score over benchmarks and cells, from 0 to 1", nullable=True),
            "standard_error": Column(pl.Float64, "Standard error of `score`, over items and over seeds", nullable=True),
            "difference_to_next": Column(
                pl.Float64, "Difference of `score` to the next, on the same items; null in the last row", nullable=True
            ),
            "difference_standard_error": Column(pl.Float64, "Standard error of `difference_to_next`", nullable=True),
            "significant": Column(
                pl.Boolean,
                "Whether `p_value` is below 0.05; where `seeds` is 1, over items only",
                nullable=True,
            ),
            "gain_over_untrained": Column(
                pl.Float64, "`score` less the score of the base model before training", nullable=True
            ),
            "items": Column(pl.Int64, "Number of benchmark items that were compared"),
            "cells": Column(pl.Int64, "Number of cells (a source with a teacher) that were compared"),
            "complete": Column(pl.Boolean, "False when it lacks a cell that others have"),
            "p_value": _later(
                pl.Float64, "Of `difference_to_next`, after Holm's correction over all neighbours, from 0 to 1"
            ),
            "best": _later(pl.Boolean, "Whether no other is better by more than chance, as `significant` says it"),
            "detectable_difference": _later(
                pl.Float64, "The smallest difference to the next that would have been found"
            ),
            "z_score": _later(pl.Float64, "Mean over benchmarks of the standardized scores"),
            "failed": _later(pl.Int64, "Number of samples of the compared items whose requests failed"),
            "truncated": _later(pl.Int64, "Number of samples of the compared items that were cut off"),
            "no_answer": _later(pl.Int64, "Number of samples of the compared items in which no answer was found"),
            "seeds": _varied(pl.Int64, "Number of training seeds of each cell that were compared"),
            "error_items": _varied(pl.Float64, "Standard error of `score` over items alone"),
            "error_seeds": _varied(pl.Float64, "Standard error of `score` over seeds alone; null with one seed"),
        },
    )


SOURCE_RANKING = _ranking("source")
TEACHER_RANKING = _ranking("teacher")

LAKE_RECIPES = Table(
    "lake_recipes",
    "Which recipes wrote to this lake.",
    {
        "recipe": Column(pl.String, "Name of the recipe"),
        "fingerprint": Column(pl.String, "Hash of its name and location"),
        "location": Column(pl.String, "Name of a shipped recipe, or the path of the recipe's file"),
        "first_used_at": Column(_TIME, "When it first wrote to this lake, UTC"),
        "last_used_at": Column(_TIME, "When it last wrote to this lake, UTC, to within a day"),
    },
)
