"""The probability that an arm is among the best, given how scores vary over training seeds and benchmark items."""

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from openthoughts_dagster.evaluation.statistics.crossed import Scores, split_benchmarks

_SPREADS = 50  # what the true variance over seeds may be, as a multiple of the measured one


def chance_among_best(
    arms: Mapping[str, Scores],
    best: int = 1,
    resamples: int = 4_000,
    seed: int = 0,
    sizes: Sequence[int] | None = None,
) -> dict[str, float]:
    """Return the probability of each arm that it is among the best.

    What the true scores of all arms may be is drawn at random around the measured ones, by the covariances of arms over
    items, seeds and their interaction. As for p-values, a handful of seeds says little about how much seeds vary, which
    is drawn as well. So of two arms the better one is the best with a probability of 1 - p / 2. Drawing seeds and items
    with replacement instead would count their interaction three times (Owen 2007, "The pigeonhole bootstrap").

    Args:
        arms: Scores by name, seeds x items, the same seeds and items in the same order.
        best: The number of arms that count as the best.
        resamples: How often the true scores are drawn.
        seed: Seed of the draws, so that the same scores give the same result.
        sizes: The number of items of each benchmark, which have equal weights; all are of one benchmark when None.

    Returns:
        A share of the draws by arm; they sum to `best`. With one seed it is about items alone.
    """
    from scipy.stats import chi2

    generator, names = np.random.default_rng(seed), list(arms)
    seeds, items = arms[names[0]].shape
    of_items, of_seeds, of_both, freedom = _covariances([arms[name] for name in names], sizes or [items])
    drawn = np.zeros((resamples, len(names)))
    if seeds > 1:
        quantiles = (np.arange(_SPREADS) + 0.5) / _SPREADS
        spreads = (seeds - 1) / chi2.ppf(quantiles, seeds - 1)
        for spread, part in zip(spreads, np.array_split(drawn, _SPREADS), strict=True):
            part += generator.normal(size=part.shape) @ _root(spread * of_seeds - of_both)
    over_items = generator.normal(size=drawn.shape) @ _root(of_items)
    drawn += over_items * np.sqrt(freedom / generator.chisquare(freedom, (resamples, 1)))
    means = [np.mean([part.mean() for part in split_benchmarks(arms[name], sizes or [items])]) for name in names]
    # ties, such as those of two arms that solve everything, are broken at random
    scores = np.array(means) + drawn + generator.uniform(0, 1e-12, drawn.shape)
    order = np.argsort(-scores, axis=1)[:, :best]
    return {name: float((order == column).any(axis=1).mean()) for column, name in enumerate(names)}


def _covariances(
    arms: Sequence[Scores], sizes: Sequence[int]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64], npt.NDArray[np.float64], float]:
    """Return the covariances of the arms' means over items, seeds and both, and the degrees of freedom of the first.

    What moves all arms alike is left out: it changes no order.
    """
    scores = np.stack(arms)
    scores = scores - scores.mean(axis=0)
    count, seeds = len(scores), scores.shape[1]
    of_items, of_both, uncertain = np.zeros((count, count)), np.zeros((count, count)), 0.0
    starts, of_seed = np.cumsum([0, *sizes[:-1]]), np.zeros((count, seeds))
    for start, size in zip(starts, sizes, strict=True):
        part, weight = scores[:, :, start : start + size], 1 / (len(sizes) ** 2 * size)
        own = np.atleast_2d(np.cov(part.mean(axis=1))) * weight
        of_items += own
        uncertain += float(np.trace(own)) ** 2 / (size - 1)
        of_seed += part.mean(axis=2) / len(sizes)
        if seeds > 1:
            left = part - part.mean(axis=1, keepdims=True) - part.mean(axis=2, keepdims=True)
            left = (left + part.mean(axis=(1, 2), keepdims=True)).reshape(count, -1)
            of_both += left @ left.T / ((seeds - 1) * (size - 1)) * weight / seeds
    of_seeds = np.atleast_2d(np.cov(of_seed)) / seeds if seeds > 1 else of_both
    freedom = float(np.trace(of_items)) ** 2 / uncertain if uncertain > 0 else 1.0
    return of_items, of_seeds, of_both, freedom


def _root(covariance: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return the symmetric root of a covariance, without the negative parts that chance leaves in a difference."""
    values, vectors = np.linalg.eigh(covariance)
    return np.asarray((vectors * np.sqrt(np.maximum(values, 0.0))) @ vectors.T)
