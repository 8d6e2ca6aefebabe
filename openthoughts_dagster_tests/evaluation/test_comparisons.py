"""Statistics on planted effects: what is there is found, and what is not there is found as rarely as promised."""

import math

import numpy as np
import polars as pl
import pytest
from statsmodels.stats.multitest import multipletests

from openthoughts_dagster.evaluation import StudentScores
from openthoughts_dagster.evaluation.statistics import (
    Estimate,
    clustered_mean,
    holm_adjusted,
    mean_over_benchmarks,
    mean_over_items_and_seeds,
    paired_bootstrap,
    paired_difference,
    pass_at_k,
    ranking,
    smallest_detectable_difference,
)


def scored(values: np.ndarray, benchmark: str = "b") -> pl.DataFrame:
    items = [f"q{place:05}" for place in range(len(values))]
    return pl.DataFrame({"benchmark": benchmark, "item": items, "score": values.astype(float)})


def test_means_and_errors_are_those_of_lighteval() -> None:
    from lighteval.metrics.utils.stderr import mean_stderr

    values = np.random.default_rng(1).random(200) < 0.3
    estimate = clustered_mean(scored(values))
    assert estimate.mean == pytest.approx(values.mean())
    assert estimate.standard_error == pytest.approx(mean_stderr(values.astype(float).tolist()))


def test_pass_at_k_is_that_of_lighteval() -> None:
    from lighteval.tasks.tasks.lcb.codegen_metrics import estimate_pass_at_k

    correct, samples = np.arange(17), np.full(17, 16)
    for k in (1, 2, 5, 16):
        assert pass_at_k(correct, samples, k) == pytest.approx(estimate_pass_at_k(samples, correct, k))
    with pytest.raises(ValueError, match="pass@5 needs items with at least 5 answers"):
        pass_at_k([1], [4], 5)


def test_an_error_over_seeds_covers_other_seeds_as_well() -> None:
    """Over items alone, students that differ by their seeds look far more certain than they are."""
    generator = np.random.default_rng(0)
    means, items_only, both = [], [], []
    for _ in range(60):
        seeds, items = generator.normal(0, 0.05, 6), generator.normal(0.5, 0.1, 100)
        values = items[:, None] + seeds[None, :] + generator.normal(0, 0.02, (100, 6))
        rows = pl.DataFrame(
            {"item": np.repeat(np.arange(100), 6), "seed": np.tile(np.arange(6), 100), "score": values.ravel()}
        )
        estimate = mean_over_items_and_seeds(rows)
        means.append(estimate.mean)
        both.append(estimate.standard_error or 0.0)
        items_only.append(clustered_mean(rows).standard_error or 0.0)
    true = np.std(means)
    assert np.mean(both) == pytest.approx(true, rel=0.25)
    assert np.mean(items_only) < 0.6 * true
    assert 5 <= (estimate.degrees_of_freedom or 0) < 15  # most of the variance is of six seeds


def test_one_seed_falls_back_to_items() -> None:
    rows = pl.DataFrame({"item": ["a", "b", "c"], "seed": [1, 1, 1], "score": [0.0, 1.0, 1.0]})
    assert mean_over_items_and_seeds(rows) == clustered_mean(rows)


def test_the_paired_bootstrap_agrees_with_the_formula_and_is_the_same_every_time() -> None:
    generator = np.random.default_rng(2)
    hard = generator.random(300)
    a, b = (scored(generator.random(300) < np.clip(hard + shift, 0, 1)) for shift in (0.1, 0.0))
    comparison, formula = paired_bootstrap(a, b), paired_difference(a, b)
    assert comparison == paired_bootstrap(a, b)
    assert comparison.difference == pytest.approx(formula.mean)
    assert comparison.standard_error == pytest.approx(formula.standard_error, rel=0.05)
    assert comparison.low < comparison.difference < comparison.high
    assert comparison.items == 300


def test_benchmarks_weigh_the_same_in_a_bootstrap() -> None:
    small, large = np.array([1.0, 0.0]), np.zeros(200)
    a = pl.concat([scored(small, "small"), scored(large, "large")])
    b = pl.concat([scored(small * 0, "small"), scored(large, "large")])
    assert paired_bootstrap(a, b, resamples=200).difference == 0.25
    with pytest.raises(ValueError, match="no item was answered by both"):
        paired_bootstrap(a, scored(small, "other"))


def test_false_findings_are_as_rare_as_promised_and_planted_effects_are_found() -> None:
    generator = np.random.default_rng(3)
    found = {0.0: 0, 0.15: 0}
    for shift in found:
        for _ in range(60):
            hard = generator.random(150) * 0.8
            a, b = (scored(generator.random(150) < hard + extra) for extra in (shift, 0.0))
            found[shift] += paired_bootstrap(a, b, resamples=300).p_value < 0.05
    assert found[0.0] / 60 < 0.15
    assert found[0.15] / 60 > 0.7


def test_holm_keeps_one_false_finding_in_a_family_rare() -> None:
    generator = np.random.default_rng(4)
    families = generator.random((60, 10))
    plain = np.mean((families < 0.05).any(axis=1))
    adjusted = np.mean(
        [any((value or 1) < 0.05 for value in holm_adjusted(dict(zip("abcdefghij", row, strict=True))).values())
         for row in families]
    )  # fmt: skip
    assert plain > 0.3
    assert adjusted < 0.15  # 0.05, and what 60 families may be off by
    row = {"a": 0.3, "b": 0.002, "c": 0.04, "d": 0.04, "e": 0.9, "f": 0.011}
    assert list(holm_adjusted(row).values()) == pytest.approx(multipletests(list(row.values()), method="holm")[1])
    assert holm_adjusted({"a": 0.01, "b": None, "c": 0.04}) == {"a": pytest.approx(0.02), "b": None, "c": 0.04}


def test_the_smallest_detectable_difference_is_found_four_times_in_five() -> None:
    generator = np.random.default_rng(5)
    error = 0.4 / math.sqrt(100)
    smallest = smallest_detectable_difference(Estimate(0.0, error, 100, 99))
    assert smallest is not None
    samples = generator.normal(smallest, 0.4, (2000, 100))
    t = samples.mean(axis=1) / (samples.std(axis=1, ddof=1) / 10)
    assert np.mean(np.abs(t) > 1.984) == pytest.approx(0.8, abs=0.03)
    several = smallest_detectable_difference(Estimate(0.0, error, 100, 99), comparisons=10)
    assert several is not None
    assert several > smallest
    assert smallest_detectable_difference(Estimate(0.0, None, 1)) is None


def test_the_best_is_only_who_beats_the_others_by_more_than_chance() -> None:
    generator = np.random.default_rng(6)

    def table(chances: dict[str, float]) -> pl.DataFrame:
        hard = generator.random(300) * 0.4
        return ranking(
            pl.concat(
                scored(generator.random(300) < hard + chance).with_columns(
                    source=pl.lit(name), teacher=pl.lit("t"), untrained_score=pl.lit(0.0)
                )
                for name, chance in chances.items()
            ),
            "source",
        )

    clear = table({"a": 0.5, "b": 0.3, "c": 0.1})
    assert clear.filter("best")["source"].to_list() == ["a"]
    assert clear["z_score"].is_sorted(descending=True)
    assert clear["z_score"].sum() == pytest.approx(0)
    close = table({"a": 0.3, "b": 0.3, "c": 0.0})
    assert set(close.filter("best")["source"]) == {"a", "b"}
    # Twelve that are all alike: without a correction one neighbour or another looks better by chance.
    alike = table({f"s{number:02}": 0.2 for number in range(12)})
    assert not alike["significant"].fill_null(False).any()
    assert alike["detectable_difference"][0] > 0.03


def test_samples_that_were_lost_are_counted_in_the_ranking() -> None:
    frame = pl.DataFrame(
        {"source": "s", "teacher": "t", "benchmark": "b", "item": ["x", "y"], "score": [1.0, 0.0],
         "untrained_score": 0.0, "failed": [0, 1], "truncated": [2, 0], "no_answer": [None, 1]}
    )  # fmt: skip
    row = ranking(frame, "source").row(0, named=True)
    assert (row["failed"], row["truncated"], row["no_answer"]) == (1, 2, None)


def test_a_score_is_of_all_and_of_answered_samples_and_says_what_any_repeat_solved() -> None:
    counts = {"failed": [2, 0, 0, 0], "truncated": [0, 1, 0, 0], "no_answer": [0, 0, 0, 1]}
    rows = {"benchmark": ["a", "a", "one", "partly"], "item": list("abcd"), "score": [0.5, 0.0, 1.0, 0.125]}
    items = pl.DataFrame({**rows, "repeats": [4, 4, 1, 2], **counts})
    summary = StudentScores(items, []).by_benchmark()
    of_all = ["benchmark", "score", "of_answered", "pass_at_k", "failed", "truncated", "no_answer"]
    assert summary.select(of_all).rows() == [
        ("a", 0.25, 0.5, 0.5, 2, 1, 0),
        ("one", 1.0, 1.0, None, 0, 0, 0),
        ("partly", 0.125, 0.125, None, 0, 0, 1),
    ]
    assert summary["standard_error"].to_list()[0] == pytest.approx(0.25) and summary["standard_error"][1] is None


def test_benchmarks_of_one_item_have_no_error() -> None:
    one, many = clustered_mean(scored(np.array([1.0]))), clustered_mean(scored(np.array([1.0, 0.0])))
    assert mean_over_benchmarks([one, many]).standard_error is None
    assert mean_over_benchmarks([one, many]).p_value is None
