"""Means of benchmark scores with their standard errors.

Items are the clusters: answers to one question err together, so repeats and cells are averaged within an item and
the standard error is taken over items (Miller 2024, "Adding Error Bars to Evals", arXiv 2411.00640, sections 2 and
3). It rests on the central limit theorem: below some 30 items take it as a lower bound.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from openthoughts_dagster.evaluation.statistics.crossed import CrossedVariance, Scores, p_value_of


@dataclass(frozen=True)
class Estimate:
    """A mean and its standard error.

    Attributes:
        mean: The estimate itself.
        standard_error: None where it cannot be known, as from a single item.
        items: Distinct benchmark items that it is made of.
        degrees_of_freedom: For quantiles of Student's t; None where there is no standard error.
        crossed: The parts of the variance where it is over several training seeds as well; None with a single seed.
    """

    mean: float
    standard_error: float | None
    items: int
    degrees_of_freedom: float | None = None
    crossed: CrossedVariance | None = None

    @property
    def p_value(self) -> float | None:
        """Two-sided p-value of the hypothesis that the mean is 0; None without a standard error."""
        if self.crossed is not None:
            return self.crossed.p_value()
        if self.standard_error is None or self.degrees_of_freedom is None:
            return None
        return p_value_of(self.mean, self.standard_error, self.degrees_of_freedom, self.items)

    @property
    def percent(self) -> str:
        """The mean with its standard error as text, such as "41.2% ± 1.6%", or the mean alone where there is none."""
        error = "" if self.standard_error is None else f" ± {self.standard_error:.1%}"
        return f"{self.mean:.1%}{error}"


def clustered_mean(scores: pl.DataFrame) -> Estimate:
    """The mean score over items, with its standard error over items.

    Args:
        scores: Columns `item` and `score`. Rows of one item are its repeats, or its cells: they weigh as one.

    Returns:
        The mean of the items' means. One item has no standard error.

    Raises:
        ValueError: There is no row.
    """
    means = item_means(scores, ["item"])["score"]
    if not len(means):
        raise ValueError("no scores to average")
    mean, deviation = means.mean(), means.std()
    assert isinstance(mean, float)
    if not isinstance(deviation, float):
        return Estimate(mean, None, len(means))
    return Estimate(mean, deviation / math.sqrt(len(means)), len(means), len(means) - 1)


def mean_over_items_and_seeds(scores: pl.DataFrame) -> Estimate:
    """The mean score with an error over benchmark items and over training seeds.

    Students of one recipe differ by their seeds as well as by the items that they happen to be asked. The error says
    how much the mean would move with other items and other seeds (`statistics.crossed`).

    Args:
        scores: Columns `item`, `seed` and `score`, and `benchmark` where there are several, which have equal weights.
            Several rows of one item and seed are repeats, and weigh as one.

    Returns:
        The mean over benchmarks of the means over seeds and items. With a single seed the error is over items only,
        and says nothing of other seeds. Only seeds that are scored on all benchmarks, and items that all seeds
        answered, are in it; if there are none, it is a mean over items.

    Raises:
        ValueError: There is no row.
    """
    rows = scores if "benchmark" in scores.columns else scores.with_columns(benchmark=pl.lit(""))
    parts = _matrices(rows)
    if parts is None or parts[0].shape[0] < 2 or min(part.shape[1] for part in parts) < 2:
        benchmarks = rows.partition_by("benchmark", maintain_order=True)
        return mean_over_benchmarks([clustered_mean(part) for part in benchmarks])
    crossed = CrossedVariance.of(np.concatenate(parts, axis=1), [part.shape[1] for part in parts])
    return Estimate(
        crossed.mean, math.sqrt(crossed.variance), int(crossed.sizes.sum()), crossed.freedom, crossed=crossed
    )


def _matrices(rows: pl.DataFrame) -> list[Scores] | None:
    """Return the scores of each benchmark, seeds x items, without gaps; None if the benchmarks share no seed."""
    parts = item_means(rows, ["benchmark", "item", "seed"]).partition_by("benchmark", maintain_order=True)
    shared = sorted(set.intersection(*(set(part["seed"]) for part in parts))) if parts else []
    wide = [part.filter(pl.col("seed").is_in(shared)).pivot("seed", index="item", values="score") for part in parts]
    if not shared:
        return None
    return [part.drop_nulls().select(map(str, shared)).to_numpy().T for part in wide]


def mean_over_benchmarks(parts: Sequence[Estimate]) -> Estimate:
    """The mean of independent benchmarks, each of equal weight.

    Args:
        parts: One estimate for each benchmark.

    Returns:
        The mean, with the error that follows from theirs (None when one of them has none) and the degrees of freedom
        of Welch and Satterthwaite.

    Raises:
        ValueError: There is no part.
    """
    if not parts:
        raise ValueError("no benchmarks to average")
    if len(parts) == 1:
        return parts[0]
    mean, items = sum(part.mean for part in parts) / len(parts), sum(part.items for part in parts)
    squares = [part.standard_error**2 for part in parts if part.standard_error is not None]
    if len(squares) < len(parts):
        return Estimate(mean, None, items)
    freedoms = [part.degrees_of_freedom or 1 for part in parts]
    weights = sum(square**2 / freedom for square, freedom in zip(squares, freedoms, strict=True))
    freedom = sum(squares) ** 2 / weights if weights else float(sum(freedoms))
    return Estimate(mean, math.sqrt(sum(squares)) / len(parts), items, freedom)


def pass_at_k(correct: npt.ArrayLike, samples: npt.ArrayLike, k: int) -> npt.NDArray[np.float64]:
    """The chance of each item that at least one of `k` answers is right, without bias.

    The estimator of Chen et al. 2021 (arXiv 2107.03374, section 2.1): drawing `k` of the answers that there are, the
    chance not to miss every right one.

    Args:
        correct: Right answers of each item.
        samples: Answers of each item; at least `k`.
        k: Answers that a user would look at; 1 gives the plain share of right answers.

    Returns:
        One probability for each item; their mean is the benchmark's pass@k.

    Raises:
        ValueError: An item has fewer than `k` answers, or more right ones than answers.

    Example:
        >>> pass_at_k([1, 0], [4, 4], k=2).tolist()
        [0.5, 0.0]
    """
    right, total = np.asarray(correct), np.asarray(samples)
    if (total < k).any() or (right > total).any() or (right < 0).any():
        raise ValueError(f"pass@{k} needs items with at least {k} answers, of which between none and all are right")
    from scipy.stats import hypergeom

    # Probabilities come as 1 - (1 - p): what is a rounding error above 1 or below 0 is none of ours to report.
    return np.clip(hypergeom.sf(0, total, right, k), 0.0, 1.0)


def item_means(rows: pl.DataFrame, key: Sequence[str], values: Sequence[str] = ("score",)) -> pl.DataFrame:
    """Means of `values` for each `key`, in the order of keys."""
    return rows.group_by(key).agg(pl.col(value).cast(pl.Float64).mean() for value in values).sort(key)


def errors_over(seeds: float | None) -> str:
    """Say what the errors of a ranking are over: items alone where each cell has a single student."""
    return f"over items and {seeds:.0f} seeds" if seeds and seeds > 1 else "over items only; one training seed"
