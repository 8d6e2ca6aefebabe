"""Compares two students on the same items, and corrects many comparisons."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from openthoughts_dagster.evaluation.statistics.estimates import (
    Estimate,
    clustered_mean,
    item_means,
    mean_over_items_and_seeds,
)


@dataclass(frozen=True)
class PairedComparison:
    """How much better one student is than another on the items that both answered.

    Attributes:
        difference: Mean of first - second over the benchmarks, each of equal weight.
        standard_error: Deviation of the resampled differences.
        low: Lower end of the confidence interval of `difference`.
        high: Its upper end.
        p_value: Two-sided, of the hypothesis that there is no difference.
        items: Items that both answered.
    """

    difference: float
    standard_error: float
    low: float
    high: float
    p_value: float
    items: int


def paired_difference(a: pl.DataFrame, b: pl.DataFrame) -> Estimate:
    """The mean of a - b over the items that both have, with its standard error (Miller 2024, section 4).

    Hard items are hard for both, so the pairs say more than two separate errors.

    Args:
        a: Columns `item` and `score`; rows of one item weigh as one.
        b: The same of the other student.

    Raises:
        ValueError: No item is shared.
    """
    return clustered_mean(_pairs(a, b, ["item"]).select("item", score="difference"))


def paired_difference_over_seeds(a: pl.DataFrame, b: pl.DataFrame) -> Estimate:
    """The mean of a - b over the items and seeds that both have, with its error over both.

    Args:
        a: Columns `benchmark`, `item`, `seed` and `score`.
        b: The same of the other.

    Raises:
        ValueError: No item and seed is shared.
    """
    pairs = _pairs(a, b, ["benchmark", "item", "seed"])
    return mean_over_items_and_seeds(pairs.select("benchmark", "item", "seed", score="difference"))


def paired_bootstrap(
    a: pl.DataFrame, b: pl.DataFrame, resamples: int = 10_000, confidence: float = 0.95, seed: int = 0
) -> PairedComparison:
    """Compare two students by resampling the items that both answered.

    Args:
        a: Columns `benchmark`, `item` and `score`; rows of one item weigh as one.
        b: The same of the other student.
        resamples: How often the items of each benchmark are drawn anew.
        confidence: Share of resamples between `low` and `high`.
        seed: Seed of the resampling: the same input gives the same numbers.

    Returns:
        The difference, its percentile interval, and a p-value by centred resampling (Efron and Tibshirani 1993,
        section 16.4). Benchmarks weigh the same, whatever their size, and are resampled apart.

    Raises:
        ValueError: No item is shared.

    Example:
        >>> rows = {"benchmark": ["sums"] * 4, "item": ["a", "b", "c", "d"]}
        >>> better = pl.DataFrame({**rows, "score": [1.0, 1.0, 1.0, 0.0]})
        >>> worse = pl.DataFrame({**rows, "score": [1.0, 0.0, 0.0, 0.0]})
        >>> paired_bootstrap(better, worse).difference
        0.5
    """
    pairs = _pairs(a, b, ["benchmark", "item"])
    parts = [part["difference"].to_numpy() for part in pairs.partition_by("benchmark", maintain_order=True)]
    means = resampled_means(parts, resamples, seed)
    difference = float(np.mean([part.mean() for part in parts]))
    low, high = np.quantile(means, [(1 - confidence) / 2, (1 + confidence) / 2])
    extreme = int((np.abs(means - difference) >= abs(difference) - 1e-12).sum())
    return PairedComparison(
        difference=difference,
        standard_error=float(means.std(ddof=1)),
        low=float(low),
        high=float(high),
        p_value=(extreme + 1) / (resamples + 1),
        items=pairs.height,
    )


def resampled_means(parts: Sequence[np.ndarray], resamples: int, seed: int) -> np.ndarray:
    """Means of means of `parts`, each drawn anew with replacement: one for each of `resamples`."""
    generator = np.random.default_rng(seed)
    total = np.zeros(resamples)
    for part in parts:
        block = max(1, 4_000_000 // len(part))  # draws in memory at once
        for start in range(0, resamples, block):
            drawn = generator.integers(0, len(part), (min(block, resamples - start), len(part)))
            total[start : start + len(drawn)] += part[drawn].mean(axis=1)
    return total / len(parts)


def holm_adjusted(p_values: Mapping[str, float | None]) -> dict[str, float | None]:
    """P-values of several comparisons made at once, by Holm's step-down correction.

    Comparing a value with 0.05 then keeps the chance of one false finding among all of them below 5%.

    Args:
        p_values: P-values by the name of what they compare; None where there is none, which stays None.

    Returns:
        The same names with adjusted values.

    Example:
        >>> holm_adjusted({"a": 0.01, "b": 0.04})
        {'a': 0.02, 'b': 0.04}
    """
    known = {name: value for name, value in p_values.items() if value is not None}
    adjusted: dict[str, float] = {}
    least = 0.0
    # Not by statsmodels' multipletests: it collects garbage at every call, a second beside a loaded model.
    for position, name in enumerate(sorted(known, key=known.__getitem__)):
        least = max(least, min(1.0, (len(known) - position) * known[name]))
        adjusted[name] = least
    return {name: adjusted.get(name) for name in p_values}


def _pairs(a: pl.DataFrame, b: pl.DataFrame, key: list[str]) -> pl.DataFrame:
    pairs = item_means(a, key).join(item_means(b, key), on=key, suffix="_b").sort(key)
    if pairs.is_empty():
        raise ValueError("no item was answered by both")
    return pairs.with_columns(difference=pl.col("score") - pl.col("score_b"))
