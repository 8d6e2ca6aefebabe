"""The scoring that assets of scores share: ask a student and its untrained base all benchmarks, and show the result."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import dagster as dg

from openthoughts_dagster.defs.metadata import bars, cost, sample_rows, table
from openthoughts_dagster.defs.resources import ModelsResource
from openthoughts_dagster.evaluation import StudentScores, score_student
from openthoughts_dagster.generation.ledger_writer import Purpose
from openthoughts_dagster.generation.usage import Usage
from openthoughts_dagster.lake import Lake
from openthoughts_dagster.recipe import Recipe, Student
from openthoughts_dagster.storage import local_path
from openthoughts_dagster.training.card import SCORES, scores_page


@dataclass(frozen=True)
class Scored:
    """The scores of a student, what they cost, and where lighteval's files are."""

    scores: StudentScores
    usage: Usage
    address: str
    files: list[str]


def score_on_benchmarks(
    models: ModelsResource,
    lake: Lake,
    recipe: Recipe,
    student: Student,
    checkpoint: str,
    names: tuple[str, str, str],
    log: Callable[[str], None],
) -> Scored:
    """Score a trained student and the same student before training on the recipe's benchmarks.

    Args:
        models: Where models are, and the engines.
        lake: The tables; the answers stay in the ledger.
        recipe: The recipe, for its benchmarks.
        student: The settings of the student; its model is the untrained one.
        checkpoint: Where the trained weights are.
        names: The asset that pays, the label that costs stand under, and the name of the folder of lighteval's files.
        log: Takes lines of progress.
    """
    asset, label, folder_name = names
    student = student.for_scoring()
    trained = student.model_copy(update={"model": checkpoint, "revision": None})
    usage, purpose, sampling = Usage(), Purpose(asset, label), recipe.evaluation.sampling
    after, before = (models.ledger_client(lake, model, sampling, usage, purpose, log) for model in (trained, student))
    below = ("evaluations", *folder_name.split("|"))
    folder, address = models.workplace(*below), models.address(*below)
    scores = score_student(recipe.evaluation, recipe.path, after, before, folder)
    reports = models.folders.put_files(folder, scores.files, address)
    put_scores_page(models, checkpoint, scores, label)
    return Scored(scores, usage, address, sorted(report.removeprefix(f"{address}/") for report in reports))


def put_scores_page(models: ModelsResource, checkpoint: str, scores: StudentScores, title: str) -> None:
    """Write the scores of a student beside its model card; they are no part of the model's identity."""
    columns = scores.by_benchmark().select("benchmark", "score", "standard_error", "untrained_score")
    with TemporaryDirectory() as name:
        folder = Path(name) if (local := local_path(checkpoint)) is None else local
        page = folder / SCORES
        page.write_text(scores_page(list(columns.iter_rows()), title))
        models.folders.put_files(folder, [page], checkpoint)


def scores_metadata(scored: Scored, title: str) -> dict[str, Any]:
    """Make the scores by benchmark with their errors, before and after training, their cost, and a few items."""
    summary = scored.scores.by_benchmark()
    return {
        "dagster/row_count": scored.scores.items.height,
        "score": round(float(summary["score"].to_numpy().mean()), 4),
        "untrained_score": round(float(summary["untrained_score"].to_numpy().mean()), 4),
        "benchmarks": table(summary, dict.fromkeys(("score", "standard_error", "untrained_score"), "%")),
        "plot": bars(
            summary["benchmark"].to_list(),
            summary["score"].to_list(),
            summary["standard_error"].to_list(),
            title=f"{title} (2 standard errors)",
        ),
        "lighteval_results": dg.MetadataValue.path(scored.address),
        "lighteval_files": scored.files,
        **cost(scored.usage),
        "sample": sample_rows(scored.scores.items.select("question", "score", "untrained_score")),
    }
