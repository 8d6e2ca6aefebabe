"""A student beside itself before training."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from openthoughts_dagster.evaluation.run import evaluate
from openthoughts_dagster.evaluation.statistics import clustered_mean
from openthoughts_dagster.generation.requests import AskModel
from openthoughts_dagster.lake import BENCHMARK_SCORES
from openthoughts_dagster.recipe import Evaluation


@dataclass(frozen=True)
class StudentScores:
    """Scores by benchmark item: columns of ITEM_SCORES and untrained_score. `files` are lighteval's: JSON with results,
    Parquet with every answer."""

    items: pl.DataFrame
    files: list[Path]

    def rows(self, source: str, teacher: str) -> pl.DataFrame:
        """Rows of benchmark_scores."""
        cell = self.items.with_columns(source=pl.lit(source), teacher=pl.lit(teacher))
        return cell.select(list(BENCHMARK_SCORES.columns))

    def by_benchmark(self) -> pl.DataFrame:
        """Columns benchmark, score, standard_error, untrained_score, items, failed and truncated."""
        rows: list[dict[str, Any]] = []
        for (name,), own in self.items.partition_by("benchmark", as_dict=True).items():
            after = clustered_mean(own)
            before = clustered_mean(own.select("item", score="untrained_score"))
            rows.append(
                {
                    "benchmark": name,
                    "score": after.mean,
                    "standard_error": after.standard_error or 0.0,
                    "untrained_score": before.mean,
                    "items": after.items,
                    "failed": own["failed"].sum(),
                    "truncated": own["truncated"].sum(),
                }
            )
        return pl.DataFrame(rows)


def score_student(
    evaluation: Evaluation, resolve: Callable[[str], str], trained: AskModel, untrained: AskModel, output: Path
) -> StudentScores:
    """Score both on every benchmark; lighteval's files go below `output`. Raises what `evaluate` raises.

    The untrained student is the same for every cell, so its answers are in the ledger after the first.
    """
    after = evaluate(evaluation, resolve, trained, output / "trained", "trained")
    before = evaluate(evaluation, resolve, untrained, output / "untrained", "untrained")
    old = before.items.select("benchmark", "metric", "item", untrained_score="score")
    items = after.items.join(old, on=["benchmark", "metric", "item"], how="left", maintain_order="left")
    files = [path for result in (after, before) for path in (*result.results_files, *result.details_files)]
    return StudentScores(items, files)
