"""Scores a student, and the same model before training."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from openthoughts_dagster.evaluation.reading import MATH_WORKERS
from openthoughts_dagster.evaluation.run import evaluate
from openthoughts_dagster.evaluation.statistics import clustered_mean, pass_at_k
from openthoughts_dagster.generation.requests import AskModel
from openthoughts_dagster.lake import BENCHMARK_SCORES
from openthoughts_dagster.recipe import Evaluation


@dataclass(frozen=True)
class StudentScores:
    """Scores by benchmark item: columns of ITEM_SCORES, and untrained_score of students. `files` are lighteval's: JSON
    with results, Parquet with every answer. `confinement` says how programs were confined; None where none ran.
    `held_out` are the benchmarks that decide nothing."""

    items: pl.DataFrame
    files: list[Path]
    confinement: str | None = None
    held_out: frozenset[str] = frozenset()

    def rows(self, **labels: str) -> pl.DataFrame:
        """The scores as rows of a table.

        Args:
            labels: Columns that identify the student, such as `source="gsm8k", teacher="qwq-32b"`.

        Returns:
            The labels, then the columns of `benchmark_scores` that are not its partition.
        """
        own = [name for name in BENCHMARK_SCORES.columns if name not in BENCHMARK_SCORES.partition_by]
        return self.items.with_columns(pl.lit(value).alias(name) for name, value in labels.items()).select(
            *labels, *own
        )

    def means(self) -> tuple[float, float | None]:
        """The mean score over benchmarks, after training and before; held-out ones count only where all are.

        The second is None for a model that was not trained here.
        """
        summary = self.by_benchmark()
        deciding = summary.filter(~pl.col("benchmark").is_in(self.held_out))
        counted = summary if deciding.is_empty() else deciding
        after, before = (
            round(float(counted[name].to_numpy().mean()), 4) if name in counted.columns else None
            for name in ("score", "untrained_score")
        )
        assert after is not None
        return after, before

    def by_benchmark(self) -> pl.DataFrame:
        """One row for each benchmark, for people to read.

        Returns:
            Columns benchmark, score (of all samples: one that failed is wrong), of_answered (of the samples whose
            did not fail; null where all did), standard_error (null for one item), pass_at_k (share of items of which
            any of the k repeats is right; null without repeats, or where answers can be partly right), untrained_score
            (of students), items, failed, truncated and no_answer.
        """
        rows: list[dict[str, Any]] = []
        for (name,), own in self.items.partition_by("benchmark", as_dict=True).items():
            after, compared = clustered_mean(own), "untrained_score" in own.columns
            before = clustered_mean(own.select("item", score="untrained_score")) if compared else None
            rows.append(
                {
                    "benchmark": name,
                    "score": after.mean,
                    "of_answered": _of_answered(own),
                    "standard_error": after.standard_error,
                    "pass_at_k": _pass_at_repeats(own),
                    **({"untrained_score": before.mean} if before else {}),
                    "items": after.items,
                    "failed": own["failed"].sum(),
                    "truncated": own["truncated"].sum(),
                    "no_answer": own["no_answer"].sum(),
                }
            )
        return pl.DataFrame(
            rows, schema_overrides=dict.fromkeys(("of_answered", "standard_error", "pass_at_k"), pl.Float64)
        )


def _pass_at_repeats(items: pl.DataFrame) -> float | None:
    right = (items["score"] * items["repeats"]).to_numpy()
    least = items["repeats"].min()
    if not isinstance(least, int) or least < 2 or not np.allclose(right, right.round()):
        return None
    return float(pass_at_k(right.round().astype(int), items["repeats"].to_numpy(), least).mean())


def _of_answered(items: pl.DataFrame) -> float | None:
    answered = items.filter(pl.col("failed") < pl.col("repeats"))
    mean = answered.select((pl.col("score") * pl.col("repeats") / (pl.col("repeats") - pl.col("failed"))).mean()).item()
    return None if mean is None else float(mean)


def score_student(
    evaluation: Evaluation, resolve: Callable[[str], str], trained: AskModel, untrained: AskModel, output: Path
) -> StudentScores:
    """Score a student, and the same student before training, on every benchmark of a recipe.

    Args:
        evaluation: The recipe's benchmarks and how students answer them.
        resolve: Makes a relative path of the recipe absolute.
        trained: Asks the student.
        untrained: Asks the student before training. It is the same for every student of a recipe, so its answers are
            in the ledger after the first.
        output: Folder for lighteval's files, which go below trained/ and untrained/.

    Returns:
        Scores by item, and the files.

    Raises:
        BenchmarkError: A benchmark cannot be run; nothing was asked.
        BenchmarkAnswersMissing: Too many answers are missing because their requests failed.
    """
    with MATH_WORKERS:
        after = evaluate(evaluation, resolve, trained, output / "trained", "trained")
        before = evaluate(evaluation, resolve, untrained, output / "untrained", "untrained")
    old = before.items.select("benchmark", "metric", "item", untrained_score="score")
    items = after.items.join(old, on=["benchmark", "metric", "item"], how="left", maintain_order="left")
    files = [path for result in (after, before) for path in (*result.results_files, *result.details_files)]
    held_out = frozenset(entry.name for entry in evaluation.benchmarks if entry.role == "held_out")
    return StudentScores(items, files, after.confinement, held_out)
