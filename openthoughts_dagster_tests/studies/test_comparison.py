"""The promised error rates, on simulated studies whose truth is known; and special cases."""

from itertools import combinations

import numpy as np
import numpy.typing as npt
import polars as pl
import pytest
from scipy import stats

from openthoughts_dagster.evaluation.statistics import holm_adjusted, mean_over_benchmarks, mean_over_items_and_seeds
from openthoughts_dagster.evaluation.statistics.crossed import CrossedVariance
from openthoughts_dagster.studies.chances import chance_among_best
from openthoughts_dagster.studies.comparison import (
    compare_arms,
    estimate_mean,
    items_to_find,
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


@pytest.mark.parametrize(
    ("seed_spread", "seeds"), [(0.0, 5), (0.02, 5), (0.1, 5), (0.02, 3), (0.1, 3), (0.1, 2), (0.2, 2)]
)
def test_arms_that_are_alike_are_told_apart_in_at_most_one_study_of_twenty(seed_spread: float, seeds: int) -> None:
    assert _found(0.0, seed_spread, seeds) <= 0.065  # 0.05, and what 1,000 draws may be off by


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
        studies = (_study(generator, effect, seeds=8) for _ in range(DRAWS))
        found = [estimate_mean(arms["a"] - arms["b"]).equivalence_p_value(0.1) for arms in studies]
        shares.append(np.mean([value < 0.05 for value in found]))
    assert shares[0] > 0.9 and shares[1] <= 0.065


def test_holm_keeps_one_false_finding_in_twenty_over_all_pairs() -> None:
    generator = np.random.default_rng(5)
    wrong = 0
    for _ in range(DRAWS):
        hard = generator.beta(2, 2, 100)
        arms = {
            str(n): (generator.uniform(size=(5, 100)) < np.clip(hard + generator.normal(0, 0.05, (5, 1)), 0, 1)).astype(
                float
            )
            for n in range(5)
        }
        pairs = {f"{a}-{b}": estimate_mean(arms[a] - arms[b]).p_value() for a, b in combinations(arms, 2)}
        wrong += any(value is not None and value < 0.05 for value in holm_adjusted(pairs).values())
    assert wrong / DRAWS <= 0.065  # 0.05, and what 1,000 draws may be off by


def test_the_seeds_that_are_needed_find_the_difference_in_four_of_five_studies() -> None:
    generator = np.random.default_rng(6)
    studies = (_study(generator, 0.06, 20) for _ in range(60))
    needed = [seeds_to_find(CrossedVariance.of(arms["b"] - arms["a"])) for arms in studies]
    typical = int(np.median([count for count in needed if count]))
    assert 2 <= typical <= 12
    assert _found(0.06, seeds=typical) > 0.6


def test_one_seed_has_an_error_over_items_and_says_nothing_of_seeds() -> None:
    one = estimate_mean(np.array([[1.0, 0.0, 1.0, 1.0]]))
    assert one.error_seeds is None and one.error == one.error_items > 0
    assert seeds_to_find(CrossedVariance.of(np.array([[1.0, 0.0, 1.0, 1.0]]))) is None


def test_arms_without_any_spread_are_as_certain_as_their_items_are_many() -> None:
    for items, equivalent in ((10, 0.99**10), (1_000, 0.99**1_000)):
        perfect = np.ones((3, items))
        [comparison] = compare_arms({"a": perfect, "b": perfect.copy()}, margin=0.01)
        assert (comparison.difference.mean, comparison.p_holm) == (0.0, 1.0)
        assert comparison.p_equivalent == pytest.approx(equivalent)
        assert comparison.seeds_needed is None and comparison.items_needed is None
        far = compare_arms({"a": perfect, "b": perfect.copy(), "c": perfect * -9}, margin=0.1)  # as z-scores may be
        assert far[-1].p_equivalent == pytest.approx(min(1, 3 * 0.99**items))
        [apart] = compare_arms({"a": perfect, "b": perfect * 0.9}, margin=0.01)  # the same difference on every item
        assert apart.p_holm == pytest.approx(2.0 ** (1 - items)) and apart.p_equivalent == 1


def test_errors_and_p_values_are_those_of_known_tests_where_one_kind_of_variance_is_left() -> None:
    generator = np.random.default_rng(8)
    a, b = generator.normal(0.1, 1, (2, 1, 50))
    assert estimate_mean(a - b).p_value() == pytest.approx(stats.ttest_rel(a[0], b[0]).pvalue)
    seeds = np.repeat(generator.normal(0.1, 1, (6, 1)), 50, axis=1)  # all items alike: the seeds are the sample
    assert estimate_mean(seeds).p_value() == pytest.approx(stats.ttest_1samp(seeds[:, 0], 0).pvalue, rel=1e-3)
    assert estimate_mean(seeds).parts.freedom == pytest.approx(5, rel=1e-2)
    three = np.repeat(np.array([[1.0], [1.01], [0.99]]), 50, axis=1)  # far out in the tail
    assert estimate_mean(three).p_value() == pytest.approx(stats.ttest_1samp(three[:, 0], 0).pvalue, rel=1e-2)
    items = np.repeat(generator.normal(0.1, 1, (1, 50)), 6, axis=0)  # all seeds alike: the items are the sample
    assert estimate_mean(items).p_value() == pytest.approx(stats.ttest_1samp(items[0], 0).pvalue, rel=1e-6)
    one = [estimate_mean(part) for part in (a, b[:, :20])]  # two benchmarks, one seed: Welch's errors
    both = estimate_mean(np.concatenate([a, b[:, :20]], axis=1), [50, 20])
    assert both.mean == pytest.approx((one[0].mean + one[1].mean) / 2)
    assert both.error == pytest.approx(np.hypot(one[0].error, one[1].error) / 2)
    welch = stats.ttest_ind(a[0], -b[0, :20], equal_var=False)
    assert (both.parts.freedom, both.p_value()) == (pytest.approx(welch.df), pytest.approx(welch.pvalue))


def test_a_seed_that_moves_all_benchmarks_at_once_is_one_draw_and_not_one_for_each() -> None:
    generator, sizes = np.random.default_rng(9), [30, 60, 90, 120]
    wrong = apart = 0
    for _ in range(DRAWS):
        items = generator.normal(0, 0.2, (1, 300)) + np.repeat(generator.normal(0, 0.3, 4), sizes)
        arms = [items + generator.normal(0, 0.05, (4, 1)) + generator.normal(0, 0.1, (4, 300)) for _ in range(2)]
        wrong += estimate_mean(arms[0] - arms[1], sizes).p_value() < 0.05
    for _ in range(40):
        rows = _rows(generator.normal(0, 0.1, (4, 1)) + generator.normal(0, 0.1, (4, 300)), sizes)
        parts = [mean_over_items_and_seeds(part.drop("benchmark")) for part in rows.partition_by("benchmark")]
        apart += (mean_over_benchmarks(parts).p_value or 1) < 0.05
    assert wrong / DRAWS <= 0.065 and apart / 40 > 0.1


def test_rankings_and_studies_have_the_same_errors() -> None:
    scores = np.random.default_rng(10).uniform(size=(3, 50))
    both, ranked = estimate_mean(scores, [20, 30]), mean_over_items_and_seeds(_rows(scores, [20, 30]))
    assert (ranked.mean, ranked.standard_error, ranked.degrees_of_freedom, ranked.items, ranked.p_value) == (
        pytest.approx(both.mean),
        pytest.approx(both.error),
        pytest.approx(both.parts.freedom),
        50,
        pytest.approx(both.p_value()),
    )


def _rows(scores: npt.NDArray[np.float64], sizes: list[int]) -> pl.DataFrame:
    seeds, items = scores.shape
    names = np.tile(np.repeat([f"b{number}" for number in range(len(sizes))], sizes), seeds)
    return pl.DataFrame(
        {
            "benchmark": names.tolist(),
            "item": np.tile(np.arange(items), seeds),
            "seed": np.repeat(np.arange(seeds), items),
            "score": scores.ravel(),
        }
    )


def test_the_items_that_are_needed_are_more_of_the_same() -> None:
    generator = np.random.default_rng(11)
    items = 0.1 + np.repeat(generator.normal(0, 1, (1, 100)), 3, axis=0) + generator.normal(0, 0.01, (3, 100))
    needed = items_to_find(CrossedVariance.of(items))
    size = abs(items.mean())  # a t-test of n items finds it with a power of 80% where n is about (2.8 / size)^2
    assert needed == pytest.approx((2.8 * items.std() / size) ** 2, rel=0.15)
    seeds = np.repeat(np.array([[0.1], [-0.1], [0.15]]), 50, axis=1) + generator.normal(0, 0.01, (3, 50))
    assert items_to_find(CrossedVariance.of(seeds)) is None  # items do not help where seeds differ


def test_arms_of_different_seeds_cannot_be_paired() -> None:
    with pytest.raises(ValueError, match="a: 3 x 10, b: 2 x 10"):
        compare_arms({"a": np.ones((3, 10)), "b": np.ones((2, 10))})


def test_chances_of_being_the_best_sum_to_one_and_follow_the_scores() -> None:
    arms = _study(np.random.default_rng(7), 0.2) | {"c": np.zeros((5, 200))}
    chances = chance_among_best(arms, resamples=300)
    assert sum(chances.values()) == pytest.approx(1) and chances["b"] > 0.95 and chances["c"] == 0


def test_z_scores_weigh_benchmarks_alike_whatever_their_size_and_spread() -> None:
    sizes = [10, 1000, 5]
    levels = {"a": (0.9, 0.50, 0.3), "b": (0.1, 0.51, 0.1 + 0.2)}  # which differ by a rounding on the third benchmark
    arms = {name: np.repeat([own, own], sizes, axis=1) for name, own in levels.items()}
    scores = z_scores(arms, sizes)
    assert estimate_mean(scores["a"], sizes).mean == pytest.approx(0) == estimate_mean(scores["b"], sizes).mean
    assert scores["a"][0, 0] == pytest.approx(0.5**0.5) and scores["a"][0, -1] == 0


def test_the_chance_of_being_the_best_is_that_of_the_paired_difference() -> None:
    seeds = np.array([[0.3], [0.0], [-0.3], [0.1]])  # which move both arms: they say nothing of the difference
    items = np.random.default_rng(12).normal(0, 0.1, (1, 200))
    better = seeds + items
    assert chance_among_best({"a": better, "b": better - 0.01}, resamples=300)["a"] == 1
    spread = np.array([[0.2], [-0.1], [0.05]]) + np.zeros((3, 200))
    chance = chance_among_best({"a": spread, "b": spread * 0})["a"]
    assert chance == pytest.approx(stats.t.cdf(0.05 / np.std([0.2, -0.1, 0.05], ddof=1) * 3**0.5, 2), abs=0.02)
    for count in (1, 3):
        arms = _study(np.random.default_rng(13), 0.05, count, seed_spread=0.01)
        p = estimate_mean(arms["b"] - arms["a"]).p_value()
        assert 0.02 < p < 0.5 and chance_among_best(arms)["b"] == pytest.approx(1 - p / 2, abs=0.02)
    alike = {"a": items + seeds, "b": items + seeds, "c": items + seeds - 0.5}
    two = chance_among_best(alike, best=2)
    assert two == {"a": 1.0, "b": 1.0, "c": 0.0} and chance_among_best(alike)["a"] == pytest.approx(0.5, abs=0.03)


def test_a_missing_score_is_an_error_and_not_a_zero() -> None:
    with pytest.raises(ValueError, match="without gaps"):
        estimate_mean(np.array([[1.0, np.nan, 0.0]]))
