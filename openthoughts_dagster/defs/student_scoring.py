"""The scoring that assets of scores share: ask a student and its untrained base all benchmarks, and show the result."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import dagster as dg
import polars as pl

from openthoughts_dagster.defs.metadata import draw_bars, show_cost, side_by_side, table
from openthoughts_dagster.defs.resources import ModelsResource
from openthoughts_dagster.evaluation import StudentScores, example_items, score_student
from openthoughts_dagster.generation.ledger_writer import Purpose
from openthoughts_dagster.generation.usage import Usage
from openthoughts_dagster.lake import Lake, Table
from openthoughts_dagster.recipe import Recipe, Student
from openthoughts_dagster.storage import local_path
from openthoughts_dagster.training.card import SCORES, scores_page

_SHARES = {
    "score": "score",
    "standard_error": "± s.e.",
    "untrained_score": "untrained",
    "pass_at_k": "pass@k",
    "of_answered": "of answered",
}
"""The columns of shares in the table of benchmarks, by what they are called there."""
_END = 600  # characters of an answer that are shown: its end has the result


@dataclass(frozen=True)
class ScoredStudent:
    """The scores of a student, what they cost, and the folder of lighteval's files."""

    scores: StudentScores
    usage: Usage
    address: str


def score_on_benchmarks(
    models: ModelsResource,
    lake: Lake,
    recipe: Recipe,
    student: Student,
    checkpoint: str,
    names: tuple[str, str, str],
    log: Callable[[str], None],
    teacher: str = "",
) -> ScoredStudent:
    """Score a trained student and the same student before training on the recipe's benchmarks.

    Args:
        models: Where models are, and the engines.
        lake: The tables; the answers stay in the ledger.
        recipe: The recipe, for its benchmarks.
        student: The settings of the student; its model is the untrained one.
        checkpoint: Where the trained weights are.
        names: The asset that pays, the label that costs stand under, and the name of the folder of lighteval's files.
        log: Takes lines of progress.
        teacher: The teacher of the student, under which the costs stand as well.

    The answers of the untrained student serve every student, so they stand under the asset alone.
    """
    asset, label, folder_name = names
    student = student.for_scoring()
    trained = student.model_copy(update={"model": checkpoint, "revision": None})
    usage, sampling = Usage(), recipe.evaluation.sampling
    after = models.ledger_client(lake, trained, sampling, usage, Purpose(asset, label, teacher), log)
    before = models.ledger_client(lake, student, sampling, usage, Purpose(asset), lambda line: log(f"untrained {line}"))
    below = ("evaluations", *folder_name.split("|"))
    folder, address = models.workplace(*below), models.address(*below)
    scores = score_student(recipe.evaluation, recipe.path, after, before, folder)
    models.folders.put_files(folder, scores.files, address)
    put_scores_page(models, checkpoint, scores, folder_name.replace("|", " by "))
    return ScoredStudent(scores, usage, address)


def put_scores_page(models: ModelsResource, checkpoint: str, scores: StudentScores, title: str) -> None:
    """Write the scores of a student beside its model card; they are no part of the model's identity."""
    columns = scores.by_benchmark().select("benchmark", "score", "standard_error", "untrained_score")
    with TemporaryDirectory() as name:
        folder = Path(name) if (local := local_path(checkpoint)) is None else local
        page = folder / SCORES
        page.write_text(scores_page(list(columns.iter_rows()), title))
        models.folders.put_files(folder, [page], checkpoint)


def scores_metadata(scored: ScoredStudent, title: str) -> dict[str, Any]:
    """Make the scores by benchmark with their errors, before and after training, and their cost."""
    summary, (score, untrained) = scored.scores.by_benchmark(), scored.scores.means()
    shares = {
        name: shown
        for name, shown in _SHARES.items()
        if name in summary.columns and summary[name].null_count() < summary.height
    }
    return {
        "dagster/row_count": scored.scores.items.height,
        "score": score,
        **({} if untrained is None else {"untrained_score": untrained}),
        "benchmarks": table(
            summary.select("benchmark", *shares, "items").rename(shares), dict.fromkeys(shares.values(), "%")
        ),
        "samples": table(summary.select("benchmark", "failed", "truncated", pl.col("no_answer").alias("no answer"))),
        "samples_failed": int(summary["failed"].sum()),
        "samples_truncated": int(summary["truncated"].sum()),
        "samples_without_answer": int(summary["no_answer"].sum()),
        **({"confinement": scored.scores.confinement} if scored.scores.confinement else {}),
        "plot": draw_bars(
            summary["benchmark"].to_list(),
            summary["score"].to_list(),
            summary["standard_error"].fill_null(0.0).to_list(),
            title=f"{title} (2 standard errors)",
        ),
        "lighteval_results": dg.MetadataValue.path(scored.address),
        **show_cost(scored.usage),
    }


def items_metadata(lake: Lake, scores: Table, **partition: str) -> dict[str, Any]:
    """Make a few right and a few wrong answers of a student, from the rows of its scores and the ledger."""
    rows = example_items(lake, scores, partition)
    shown = rows.with_columns(
        answer=pl.when(pl.col("answer").str.len_chars() > _END)
        .then(pl.format("…{}", pl.col("answer").str.tail(_END)))
        .otherwise("answer")
    )
    return {"right_and_wrong": side_by_side(shown)}
