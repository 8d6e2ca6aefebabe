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


@dataclass(frozen=True)
class Estimate:
    """A mean and its standard error.

    Attributes:
        mean: The estimate itself.
        standard_error: None where it cannot be known, as from a single item.
        items: Distinct benchmark items that it is made of.
        degrees_of_freedom: For quantiles of Student's t; None where there is no standard error.
    """

    mean: float
    standard_error: float | None
    items: int
    degrees_of_freedom: float | None = None

    @property
    def p_value(self) -> float | None:
        """Two-sided p-value of the hypothesis that the mean is 0, by Student's t; None without a standard error."""
        if self.standard_error is None or self.degrees_of_freedom is None:
            return None
        if self.standard_error == 0:
            return 1.0 if self.mean == 0 else 0.0
        from scipy.stats import t

        return float(2 * t.sf(abs(self.mean) / self.standard_error, self.degrees_of_freedom))


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

    Students of one recipe differ by their seeds as well as by the items that they happen to be asked. The error is
    clustered in both directions (Cameron, Gelbach and Miller 2011, as statsmodels has it): it says how much the mean
    would move with other items and other seeds.

    Args:
        scores: Columns `item`, `seed` and `score`; several rows of one item and seed are repeats, and weigh as one.

    Returns:
        The mean over seeds of the means over items. With a single seed the error is over items only, and says
        nothing of other seeds. Degrees of freedom are those of the direction with fewer clusters.

    Raises:
        ValueError: There is no row.
    """
    if scores["seed"].n_unique() < 2 or scores["item"].n_unique() < 2:
        return clustered_mean(scores)
    means = item_means(scores, ["item", "seed"])
    seeds, items = means["seed"].n_unique(), means["item"].n_unique()
    from statsmodels.regression.linear_model import OLS

    groups = np.column_stack([means[name].rank("dense").to_numpy().astype(np.int64) for name in ("item", "seed")])
    values = means["score"].to_numpy()
    fitted = OLS(values, np.ones(len(values))).fit(cov_type="cluster", cov_kwds={"groups": groups})
    # The sum of the two directions less their intersection can come out negative when there is no variance at all.
    variance = max(0.0, float(fitted.cov_params()[0, 0]))
    return Estimate(float(values.mean()), math.sqrt(variance), items, min(seeds, items) - 1)


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
