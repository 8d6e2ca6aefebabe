"""Compares arms on the same items with several training seeds: differences, errors and statistical power.

Scores are crossed: every seed's student answers every item, so that errors are over both (`evaluation.statistics`). An
error over items alone would find differences that another training seed would reverse.
"""

import math
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from openthoughts_dagster.evaluation.statistics import holm_adjusted
from openthoughts_dagster.evaluation.statistics.crossed import (
    CrossedVariance,
    Scores,
    split_benchmarks,
)

_MOST_SEEDS = 100
_MOST_TIMES_ITEMS = 100


@dataclass(frozen=True)
class Estimated:
    """A mean over seeds and items.

    Args:
        mean: The mean score, or the mean difference of two arms.
        error_items: Standard error over items, for these seeds only.
        error_seeds: Standard error over seeds, for these items only; None with a single seed.
        error: Standard error over both; with a single seed it is that over items.
        seeds: The number of seeds.
        items: The number of items.
        parts: Where the variance comes from.
    """

    mean: float
    error_items: float
    error_seeds: float | None
    error: float
    seeds: int
    items: int
    parts: CrossedVariance

    def interval(self, confidence: float = 0.95) -> tuple[float, float]:
        """Return the confidence interval of the mean."""
        half = self.parts.critical_value(1 - confidence) * self.error
        return self.mean - half, self.mean + half

    def p_value(self) -> float:
        """Return the two-sided p-value of the hypothesis that the mean is 0."""
        return self.parts.p_value()

    def equivalence_p_value(self, margin: float, largest: float = 1.0) -> float:
        """Return the p-value of two one-sided tests that the mean is beyond `margin`; no value is above `largest`."""
        return self.parts.equivalence_p_value(margin, largest)


@dataclass(frozen=True)
class Comparison:
    """Two arms on the same items and seeds.

    Args:
        first: Name of the arm with the higher score.
        second: Name of the other.
        difference: first - second.
        p_holm: P-value of no difference, corrected for all comparisons of the study (Holm 1979).
        p_equivalent: P-value of a difference beyond the margin, corrected in the same way; None without a margin.
        detectable: The smallest true difference that this design finds with a power of 80%.
        seeds_needed: Seeds that find a true difference of this size with a power of 80%, with the same items; None if
            100 seeds are not enough, or if there is a single seed, which says nothing about the variance between seeds.
        items_needed: Benchmark items that would find it with the same seeds; None if 100 times the items are not
            enough.
    """

    first: str
    second: str
    difference: Estimated
    p_holm: float
    p_equivalent: float | None
    detectable: float
    seeds_needed: int | None
    items_needed: int | None


def estimate_mean(scores: Scores, sizes: Sequence[int] | None = None) -> Estimated:
    """Estimate the mean of scores, or of paired differences of scores, with its errors over seeds and items.

    Args:
        scores: Seeds x items; the items of one benchmark are beside each other.
        sizes: The number of items of each benchmark, which have equal weights; all are of one benchmark when None.

    Raises:
        ValueError: A benchmark has fewer than two items, or a score is missing.
    """
    parts = CrossedVariance.of(scores, sizes)
    return Estimated(
        mean=parts.mean,
        error_items=math.sqrt(parts.of_items.sum()),
        error_seeds=math.sqrt(parts.of_seeds) if parts.seeds > 1 else None,
        error=math.sqrt(parts.variance),
        seeds=parts.seeds,
        items=scores.shape[1],
        parts=parts,
    )


def compare_arms(
    arms: Mapping[str, Scores], margin: float | None = None, alpha: float = 0.05, sizes: Sequence[int] | None = None
) -> list[Comparison]:
    """Compare every pair of arms, with p-values that are corrected for all pairs.

    Args:
        arms: Scores by name of the arm, seeds x items, with the same seeds and items in the same order.
        margin: A difference of scores that does not matter; None for no test of equivalence.
        alpha: The accepted chance of a false finding in the whole study.
        sizes: The number of items of each benchmark; all are of one benchmark when None.

    Returns:
        One comparison for each pair, the largest difference first.

    Raises:
        ValueError: The arms have different numbers of seeds or items, which cannot be paired.
    """
    if len({scores.shape for scores in arms.values()}) > 1:
        shapes = ", ".join(f"{name}: {scores.shape[0]} x {scores.shape[1]}" for name, scores in arms.items())
        raise ValueError(f"arms are compared on the same seeds and items, and these have different ones: {shapes}")
    means = {name: CrossedVariance.of(scores, sizes).mean for name, scores in arms.items()}
    names = sorted(arms, key=lambda name: -means[name])
    pairs = [(first, second) for number, first in enumerate(names) for second in names[number + 1 :]]
    labels = {" - ".join(pair): pair for pair in pairs}
    found = {label: estimate_mean(arms[first] - arms[second], sizes) for label, (first, second) in labels.items()}
    p_values = holm_adjusted({label: estimate.p_value() for label, estimate in found.items()})
    # Of scores from 0 to 1 no difference is above 1; of z-scores it may be.
    largest = max(1.0, max(part.max() for part in arms.values()) - min(part.min() for part in arms.values()))
    equivalent = holm_adjusted(
        {label: estimate.equivalence_p_value(margin, largest) if margin else None for label, estimate in found.items()}
    )
    comparisons = [
        Comparison(
            first=first,
            second=second,
            difference=found[label],
            p_holm=1.0 if (p := p_values[label]) is None else p,
            p_equivalent=equivalent[label],
            detectable=_detectable(found[label].parts, alpha / len(pairs)),
            seeds_needed=seeds_to_find(found[label].parts, alpha / len(pairs)),
            items_needed=items_to_find(found[label].parts, alpha / len(pairs)),
        )
        for label, (first, second) in labels.items()
    ]
    return sorted(comparisons, key=lambda comparison: -comparison.difference.mean)


def seeds_to_find(difference: CrossedVariance, alpha: float = 0.05) -> int | None:
    """Return the seeds that find a true difference as large as the measured one with a power of 80%.

    Args:
        difference: The variance of paired differences.
        alpha: The accepted chance of a false finding.

    Returns:
        At least two; None if 100 seeds are not enough, or if there is a single seed, which says nothing about the
        variance between seeds.
    """
    counts = range(2, _MOST_SEEDS + 1)
    at = bisect_left(counts, True, key=lambda count: _would_find(difference, count, 1.0, alpha))
    return counts[at] if difference.seeds > 1 and at < len(counts) else None


def items_to_find(difference: CrossedVariance, alpha: float = 0.05) -> int | None:
    """Return the benchmark items that find a difference as large as the measured one, as `seeds_to_find`.

    Args:
        difference: The variance of paired differences. With a single seed the answer is about this seed's students.
        alpha: The accepted chance of a false finding.

    Returns:
        Items of all benchmarks together; None if 100 times as many are not enough.
    """
    times = np.geomspace(0.1, _MOST_TIMES_ITEMS, 120).tolist()
    at = bisect_left(times, True, key=lambda factor: _would_find(difference, difference.seeds, factor, alpha))
    return math.ceil(times[at] * difference.sizes.sum()) if at < len(times) else None


def z_scores(arms: Mapping[str, Scores], sizes: Sequence[int]) -> dict[str, Scores]:
    """Convert each arm's scores on several benchmarks to z-scores.

    The mean z-score is how OpenThoughts-Agent (arXiv 2606.24855) ranks its sources: the scale of a benchmark does not
    decide its weight.

    Args:
        arms: For each arm its scores, seeds x items; the items of one benchmark are beside each other.
        sizes: The number of items of each benchmark.

    Returns:
        For each arm a matrix of the same shape. A benchmark on which all arms score the same is 0 for all.
    """
    parts = {name: split_benchmarks(scores, sizes) for name, scores in arms.items()}
    converted: dict[str, list[Scores]] = {name: [] for name in arms}
    for number in range(len(sizes)):
        means = np.array([own[number].mean() for own in parts.values()])
        spread = float(means.std(ddof=1)) if len(means) > 1 else 0.0
        for name, own in parts.items():
            apart = spread > 1e-9  # below it the means differ by their rounding
            converted[name].append((own[number] - means.mean()) / spread if apart else np.zeros_like(own[number]))
    return {name: np.concatenate(own, axis=1) for name, own in converted.items()}


def _would_find(difference: CrossedVariance, seeds: int, times_items: float, alpha: float) -> bool:
    if difference.mean == 0 or (difference.sizes * times_items < 2).any():
        return False
    return abs(difference.mean) >= _detectable(difference.expected(seeds, times_items), alpha)


def _detectable(difference: CrossedVariance, alpha: float, power: float = 0.8) -> float:
    """Return the smallest true difference that is found with `power`."""
    beyond = difference.critical_value(alpha) + float(stats.t.ppf(power, difference.approximate_freedom))
    return math.sqrt(difference.variance) * beyond
