"""Compares arms on the same items with several training seeds: differences, errors and statistical power.

Scores are crossed: every seed's student answers every item. The variance of a mean therefore has three components: of
seeds, of items, and of their interaction. They are estimated by the mean squares of a two-way analysis of variance
(Searle, Casella and McCulloch 1992, "Variance Components", chapter 4; Miller 2024, arXiv 2411.00640, on items as
clusters). An error over items alone would call differences significant that another training seed would reverse.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import stats

from openthoughts_dagster.evaluation.statistics import holm_adjusted

_MOST_SEEDS = 100

Scores = npt.NDArray[np.float64]
"""Scores of one arm: seeds x items."""


@dataclass(frozen=True)
class Estimated:
    """A mean over seeds and items.

    Args:
        mean: The mean score, or the mean difference of two arms.
        error_items: Standard error over items, for these seeds only.
        error_seeds: Standard error over seeds; None with a single seed.
        error: Standard error over both; with a single seed it is that over items.
        freedom: Degrees of freedom of `error` (Satterthwaite).
        seeds: The number of seeds.
        items: The number of items.
    """

    mean: float
    error_items: float
    error_seeds: float | None
    error: float
    freedom: float
    seeds: int
    items: int

    def interval(self, confidence: float = 0.95) -> tuple[float, float]:
        """Return the confidence interval of the mean, by Student's t."""
        half = float(stats.t.ppf(0.5 + confidence / 2, self.freedom)) * self.error
        return self.mean - half, self.mean + half

    def p_value(self) -> float:
        """Return the two-sided p-value of the hypothesis that the mean is 0."""
        if self.error == 0:
            return 1.0 if self.mean == 0 else 0.0
        return float(2 * stats.t.sf(abs(self.mean) / self.error, self.freedom))

    def equivalence_p_value(self, margin: float) -> float:
        """Return the p-value of two one-sided tests (Schuirmann 1987) that the mean is beyond `margin`."""
        if self.error == 0:
            return 0.0 if abs(self.mean) < margin else 1.0
        return float(stats.t.sf((margin - abs(self.mean)) / self.error, self.freedom))


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
        seeds_needed: Seeds that find a true difference of this size with a power of 80%; None if 100 seeds are not
            enough, or if there is a single seed, which says nothing about the variance between seeds.
    """

    first: str
    second: str
    difference: Estimated
    p_holm: float
    p_equivalent: float | None
    detectable: float
    seeds_needed: int | None


def estimate_mean(scores: Scores) -> Estimated:
    """Estimate the mean of scores, or of paired differences of scores, with its errors over seeds and items.

    Args:
        scores: Seeds x items; at least two items.

    Raises:
        ValueError: There are fewer than two items, or a score is missing.
    """
    seeds, items = scores.shape
    if items < 2 or seeds < 1 or np.isnan(scores).any():
        raise ValueError(f"{seeds} seeds x {items} items: at least one seed and two items are needed, without gaps")
    of_seeds, of_items, both = _components(scores)
    mean, error_items = float(scores.mean()), math.sqrt((of_items + both / seeds) / items)
    if seeds == 1:
        return Estimated(mean, error_items, None, error_items, items - 1, seeds, items)
    error_seeds = math.sqrt((of_seeds + both / items) / seeds)
    squares = _mean_squares(scores)
    variance, freedom = _total_variance(*squares, seeds, items)
    return Estimated(mean, error_items, error_seeds, math.sqrt(variance), freedom, seeds, items)


def compare_arms(arms: Mapping[str, Scores], margin: float | None = None, alpha: float = 0.05) -> list[Comparison]:
    """Compare every pair of arms, with p-values that are corrected for all pairs.

    Args:
        arms: Scores by name of the arm, seeds x items, with the same items in the same order. A pair is compared on the
            first seeds that both arms have.
        margin: A difference of scores that does not matter; None for no test of equivalence.
        alpha: The accepted chance of a false finding in the whole study.

    Returns:
        One comparison for each pair, the largest difference first.
    """
    names = sorted(arms, key=lambda name: -float(arms[name].mean()))
    pairs = [(first, second) for number, first in enumerate(names) for second in names[number + 1 :]]
    found = {pair: estimate_mean(_difference(arms[pair[0]], arms[pair[1]])) for pair in pairs}
    labels = {" - ".join(pair): pair for pair in pairs}
    p_values = holm_adjusted({label: found[pair].p_value() for label, pair in labels.items()})
    equivalent = holm_adjusted(
        {label: found[pair].equivalence_p_value(margin) if margin else None for label, pair in labels.items()}
    )
    comparisons = [
        Comparison(
            first=pair[0],
            second=pair[1],
            difference=found[pair],
            p_holm=float(p_values[label] or 0.0),
            p_equivalent=equivalent[label],
            detectable=float(_detectable(found[pair].error, found[pair].freedom, alpha / len(pairs))),
            seeds_needed=seeds_to_find(_difference(arms[pair[0]], arms[pair[1]]), alpha / len(pairs)),
        )
        for label, pair in labels.items()
    ]
    return sorted(comparisons, key=lambda comparison: -comparison.difference.mean)


def seeds_to_find(differences: Scores, alpha: float = 0.05) -> int | None:
    """Return the seeds that find a true difference as large as the measured one with a power of 80%.

    Args:
        differences: Paired differences, seeds x items.
        alpha: The accepted chance of a false finding.

    Returns:
        At least two; None if 100 seeds are not enough, or if there is a single seed, which says nothing about the
        variance between seeds.
    """
    seeds, items = differences.shape
    size = abs(float(differences.mean()))
    if seeds < 2 or size == 0:
        return None
    of_seeds, of_items, both = _components(differences)
    counts = np.arange(2, _MOST_SEEDS + 1)
    # The mean squares with that many seeds, from the measured components of variance.
    square_seeds, square_items = items * of_seeds + both, counts * of_items + both
    variance = of_seeds / counts + of_items / items + both / (counts * items)
    parts = square_seeds**2 / (counts - 1) + square_items**2 / (items - 1) + both**2 / ((counts - 1) * (items - 1))
    with np.errstate(invalid="ignore", divide="ignore"):
        freedom = np.maximum(1.0, np.where(parts > 0, (variance * counts * items) ** 2 / parts, items - 1))
    enough = size >= _detectable(np.sqrt(variance), freedom, alpha)
    return int(counts[enough][0]) if enough.any() else None


def chance_among_best(
    arms: Mapping[str, Scores], best: int = 1, resamples: int = 2_000, seed: int = 0
) -> dict[str, float]:
    """Return how often each arm is among the best when items and seeds are resampled.

    Args:
        arms: Scores by name, seeds x items, the same items in the same order.
        best: The number of arms that count as the best.
        resamples: How often items and seeds are drawn with replacement.
        seed: Seed of the resampling, so that the same scores give the same result.

    Returns:
        A share of the resamples by arm; they sum to `best`.
    """
    generator, names = np.random.default_rng(seed), list(arms)
    means = np.empty((resamples, len(names)))
    items = next(iter(arms.values())).shape[1]
    for number in range(resamples):
        weights = generator.multinomial(items, np.full(items, 1 / items)) / items
        for column, name in enumerate(names):
            scores = arms[name]
            drawn = generator.multinomial(len(scores), np.full(len(scores), 1 / len(scores))) / len(scores)
            means[number, column] = drawn @ scores @ weights
    # ties, such as those of two arms that solve everything, are broken at random
    order = np.argsort(-(means + generator.uniform(0, 1e-12, means.shape)), axis=1)[:, :best]
    return {name: float((order == column).any(axis=1).mean()) for column, name in enumerate(names)}


def z_scores(arms: Mapping[str, Sequence[Scores]]) -> dict[str, Scores]:
    """Convert each arm's scores on several benchmarks to z-scores, with equal weights of the benchmarks.

    The mean z-score is how OpenThoughts-Agent (arXiv 2606.24855) ranks its sources: the scale of a benchmark does not
    decide its weight.

    Args:
        arms: For each arm its scores on each benchmark, seeds x items, benchmarks in the same order.

    Returns:
        For each arm a matrix of seeds x items of all benchmarks; the mean of a row is the seed's mean z-score.
    """
    count = len(next(iter(arms.values())))
    whole = {name: [] for name in arms}  # type: dict[str, list[Scores]]
    for number in range(count):
        means = np.array([scores[number].mean() for scores in arms.values()])
        spread = float(means.std(ddof=1)) if len(means) > 1 else 0.0
        total = sum(scores[number].shape[1] for number in range(count) for scores in [next(iter(arms.values()))])
        for name, scores in arms.items():
            values = (scores[number] - means.mean()) / spread if spread > 0 else np.zeros_like(scores[number])
            whole[name].append(values * total / (count * scores[number].shape[1]))
    return {name: np.concatenate(parts, axis=1) for name, parts in whole.items()}


def _difference(first: Scores, second: Scores) -> Scores:
    seeds = min(len(first), len(second))
    return first[:seeds] - second[:seeds]


def _mean_squares(scores: Scores) -> tuple[float, float, float]:
    """Return the mean squares of seeds, of items, and of the residual."""
    seeds, items = scores.shape
    grand, of_seed, of_item = scores.mean(), scores.mean(axis=1), scores.mean(axis=0)
    left = scores - of_seed[:, None] - of_item[None, :] + grand
    square_seeds = items * float(((of_seed - grand) ** 2).sum()) / max(1, seeds - 1)
    square_items = seeds * float(((of_item - grand) ** 2).sum()) / (items - 1)
    square_left = float((left**2).sum()) / max(1, (seeds - 1) * (items - 1))
    return square_seeds, square_items, square_left


def _components(scores: Scores) -> tuple[float, float, float]:
    """Return the variance components of seeds, items and their interaction, none below 0."""
    seeds, items = scores.shape
    if seeds == 1:
        return 0.0, float(scores.var(axis=1, ddof=1).item()), 0.0
    square_seeds, square_items, left = _mean_squares(scores)
    return max(0.0, (square_seeds - left) / items), max(0.0, (square_items - left) / seeds), left


def _total_variance(
    square_seeds: float, square_items: float, square_left: float, seeds: int, items: int
) -> tuple[float, float]:
    """Return the variance of the mean and its degrees of freedom.

    (MS_seeds + MS_items - MS_left) / (seeds x items) is unbiased. The numerator is at least the larger of the first two
    terms, so that chance in the subtraction does not make the error too small.
    """
    cells = seeds * items
    variance = max(square_seeds + square_items - square_left, square_seeds, square_items) / cells
    if variance == 0:
        return 0.0, float(max(1, min(seeds, items) - 1))
    parts = square_seeds**2 / max(1, seeds - 1) + square_items**2 / (items - 1)
    parts += square_left**2 / max(1, (seeds - 1) * (items - 1))
    freedom = (variance * cells) ** 2 / parts if parts else float(items - 1)
    return variance, max(1.0, freedom)


def _detectable(error: Any, freedom: Any, alpha: float, power: float = 0.8) -> Any:
    """Return the smallest true difference found with `power`, by quantiles of Student's t; also for arrays."""
    return error * (stats.t.ppf(1 - alpha / 2, freedom) + stats.t.ppf(power, freedom))
