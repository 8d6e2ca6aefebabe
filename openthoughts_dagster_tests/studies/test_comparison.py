"""The promised error rates, on simulated studies whose truth is known; and special cases."""

from itertools import combinations

import numpy as np
import numpy.typing as npt
import pytest

from openthoughts_dagster.evaluation.statistics import holm_adjusted
from openthoughts_dagster.studies.comparison import (
    chance_among_best,
    compare_arms,
    estimate_mean,
    seeds_to_find,
    z_scores,
)

DRAWS = 1_000


def _study(
    generator: np.random.Generator, effect: float, seeds: int = 5, items: int = 200, seed_spread: float = 0.02
) -> dict[str, npt.NDArray[np.float64]]:
    """Two arms that answer the same items right or wrong; seeds move the chance of being right."""
    hard = generator.beta(2, 2, items)
    arms = {}
    for name, better in (("a", 0.0), ("b", effect)):
        of_seed = generator.normal(0, seed_spread, (seeds, 1))
        arms[name] = (generator.uniform(size=(seeds, items)) < np.clip(hard + better + of_seed, 0, 1)).astype(float)
    return arms


def _found(effect: float, seed_spread: float = 0.02, seeds: int = 5) -> float:
    """The share of simulated studies that find a difference at 5%."""
    generator = np.random.default_rng(1)
    studies = (_study(generator, effect, seeds, seed_spread=seed_spread) for _ in range(DRAWS))
    return float(np.mean([estimate_mean(arms["a"] - arms["b"]).p_value() < 0.05 for arms in studies]))


@pytest.mark.parametrize("seed_spread", [0.0, 0.02, 0.1])
def test_arms_that_are_alike_are_told_apart_in_at_most_one_study_of_twenty(seed_spread: float) -> None:
    assert _found(0.0, seed_spread) <= 0.06  # 0.05, and what 1,000 draws may be off by


def test_an_error_over_items_alone_finds_differences_that_are_none() -> None:
    generator = np.random.default_rng(2)
    wrong = 0
    for _ in range(300):
        arms = _study(generator, 0.0, seeds=1, seed_spread=0.1)
        wrong += estimate_mean(arms["a"] - arms["b"]).p_value() < 0.05
    assert wrong > 0.3 * 300  # which is why one seed says nothing of another training


def test_small_effects_are_sometimes_found_and_large_ones_nearly_always() -> None:
    small, large = _found(0.03), _found(0.15)
    assert 0.06 < small < 0.7 and large > 0.95


def test_intervals_hold_the_truth_as_often_as_they_promise() -> None:
    generator = np.random.default_rng(3)
    held = 0
    for _ in range(DRAWS):
        truth = 0.05
        values = truth + generator.normal(0, 0.05, (5, 1)) + generator.normal(0, 0.3, (1, 100))
        low, high = estimate_mean(values + generator.normal(0, 0.2, (5, 100))).interval()
        held += low <= truth <= high
    assert 0.93 <= held / DRAWS <= 0.99


def test_equivalence_is_promised_only_where_the_difference_is_within_the_margin() -> None:
    generator = np.random.default_rng(4)
    shares = []
    for effect in (0.0, 0.1):
        studies = (_study(generator, effect, seeds=8) for _ in range(300))
        found = [estimate_mean(arms["a"] - arms["b"]).equivalence_p_value(0.1) for arms in studies]
        shares.append(np.mean([value < 0.05 for value in found]))
    assert shares[0] > 0.9 and shares[1] <= 0.08


def test_holm_keeps_one_false_finding_in_twenty_over_all_pairs() -> None:
    generator = np.random.default_rng(5)
    wrong = 0
    for _ in range(100):
        hard = generator.beta(2, 2, 100)
        arms = {
            str(n): (generator.uniform(size=(5, 100)) < np.clip(hard + generator.normal(0, 0.05, (5, 1)), 0, 1)).astype(
                float
            )
            for n in range(5)
        }
        pairs = {f"{a}-{b}": estimate_mean(arms[a] - arms[b]).p_value() for a, b in combinations(arms, 2)}
        wrong += any(value is not None and value < 0.05 for value in holm_adjusted(pairs).values())
    assert wrong / 100 <= 0.1  # 0.05, and what 100 draws may be off by


def test_the_seeds_that_are_needed_find_the_difference_in_four_of_five_studies() -> None:
    generator = np.random.default_rng(6)
    needed = [seeds_to_find(arms["b"] - arms["a"]) for arms in (_study(generator, 0.06, 20) for _ in range(60))]
    typical = int(np.median([count for count in needed if count]))
    assert 2 <= typical <= 12
    assert _found(0.06, seeds=typical) > 0.6


def test_one_seed_has_an_error_over_items_and_says_nothing_of_seeds() -> None:
    one = estimate_mean(np.array([[1.0, 0.0, 1.0, 1.0]]))
    assert one.error_seeds is None and one.error == one.error_items > 0
    assert seeds_to_find(np.array([[1.0, 0.0, 1.0, 1.0]])) is None


def test_arms_that_solve_everything_are_no_better_than_each_other() -> None:
    perfect = np.ones((3, 10))
    [comparison] = compare_arms({"a": perfect, "b": perfect.copy()}, margin=0.01)
    assert (comparison.difference.mean, comparison.p_holm, comparison.p_equivalent) == (0.0, 1.0, 0.0)
    assert comparison.seeds_needed is None


def test_chances_of_being_the_best_sum_to_one_and_follow_the_scores() -> None:
    arms = _study(np.random.default_rng(7), 0.2) | {"c": np.zeros((5, 200))}
    chances = chance_among_best(arms, resamples=300)
    assert sum(chances.values()) == pytest.approx(1) and chances["b"] > 0.95 and chances["c"] == 0


def test_z_scores_weigh_benchmarks_alike_whatever_their_size_and_spread() -> None:
    arms = {
        "a": [np.full((2, 10), 0.9), np.full((2, 1000), 0.50)],
        "b": [np.full((2, 10), 0.1), np.full((2, 1000), 0.51)],
    }
    scores = z_scores(arms)
    assert float(scores["a"].mean()) == pytest.approx(0) and float(scores["b"].mean()) == pytest.approx(0)


def test_a_missing_score_is_an_error_and_not_a_zero() -> None:
    with pytest.raises(ValueError, match="without gaps"):
        estimate_mean(np.array([[1.0, np.nan, 0.0]]))
