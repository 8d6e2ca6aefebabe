import math
from itertools import product

import numpy as np
import polars as pl
import pytest

from openthoughts_dagster.evaluation import clustered_mean, paired_difference, ranking


def scores(values: list[float], repeats: int = 1) -> pl.DataFrame:
    return pl.DataFrame(
        {"item": [f"q{i}" for i in range(len(values)) for _ in range(repeats)], "score": np.repeat(values, repeats)}
    )


def cell(
    source: str, teacher: str, values: list[float], benchmark: str = "b", untrained: float | None = 0.0
) -> pl.DataFrame:
    return scores(values).select(
        pl.lit(source).alias("source"),
        pl.lit(teacher).alias("teacher"),
        pl.lit(benchmark).alias("benchmark"),
        "item",
        "score",
        pl.lit(untrained, dtype=pl.Float64).alias("untrained_score"),
    )


def test_a_standard_error_is_the_deviation_over_the_root_of_the_items() -> None:
    estimate = clustered_mean(scores([0.0, 0.0, 1.0, 1.0]))
    assert estimate.mean == 0.5
    assert estimate.standard_error == pytest.approx(math.sqrt((4 * 0.25) / 3) / 2)
    assert estimate.items == 4


def test_repeats_of_an_item_do_not_shrink_the_error() -> None:
    values = [0.0, 0.25, 1.0, 0.5, 0.75]
    assert clustered_mean(scores(values, repeats=16)) == clustered_mean(scores(values))


def test_the_error_agrees_with_resampling_whole_items() -> None:
    generator = np.random.default_rng(0)
    difficulty = generator.beta(1, 1, size=300)
    samples = generator.random((300, 8)) < difficulty[:, None]
    frame = pl.DataFrame({"item": np.repeat(np.arange(300), 8), "score": samples.ravel().astype(float)})
    estimate = clustered_mean(frame)
    item_means = samples.mean(axis=1)
    resampled = [item_means[generator.integers(0, 300, 300)].mean() for _ in range(4000)]
    assert estimate.standard_error == pytest.approx(np.std(resampled), rel=0.05)
    naive = samples.std() / math.sqrt(samples.size)
    assert estimate.standard_error is not None
    assert estimate.standard_error > 1.5 * naive


def test_one_item_has_no_standard_error() -> None:
    assert clustered_mean(scores([1.0])).standard_error is None


def test_no_scores_have_no_mean() -> None:
    with pytest.raises(ValueError, match="no scores"):
        clustered_mean(scores([]))


def test_a_paired_difference_uses_shared_items_only() -> None:
    a = pl.DataFrame({"item": ["x", "y", "z"], "score": [1.0, 1.0, 0.0]})
    b = pl.DataFrame({"item": ["y", "x", "w"], "score": [0.0, 0.5, 1.0]})
    estimate = paired_difference(a, b)
    assert (estimate.mean, estimate.items) == (0.75, 2)
    assert estimate.standard_error == pytest.approx(0.25)
    with pytest.raises(ValueError, match="by both"):
        paired_difference(a.head(1), b.head(1))


def test_pairing_finds_a_difference_that_separate_errors_would_hide() -> None:
    hard = [0.0, 0.2, 0.4, 0.6, 0.8] * 10
    a, b = scores([value + 0.1 + 0.01 * (i % 3) for i, value in enumerate(hard)]), scores(hard)
    paired, separate = paired_difference(a, b).standard_error, clustered_mean(a).standard_error
    assert paired is not None
    assert separate is not None
    assert paired < separate / 10


def test_benchmarks_weigh_the_same_whatever_their_size() -> None:
    frame = pl.concat([cell("s", "t", [1.0, 0.0], "small"), cell("s", "t", [1.0] * 98 + [0.0] * 2, "large")])
    row = ranking(frame, "source").row(0, named=True)
    small, large = math.sqrt(0.5 / 2), math.sqrt((98 * 0.02**2 + 2 * 0.98**2) / 99 / 100)
    assert row["score"] == pytest.approx((0.5 + 0.98) / 2)
    assert row["standard_error"] == pytest.approx(math.sqrt(small**2 + large**2) / 2)
    assert (row["items"], row["cells"]) == (102, 1)


def test_an_item_of_several_cells_is_one_cluster() -> None:
    values = [0.0, 1.0, 1.0, 0.0]
    one = ranking(cell("s", "t1", values), "source").row(0, named=True)
    two = ranking(pl.concat([cell("s", "t1", values), cell("s", "t2", values)]), "source").row(0, named=True)
    assert two["standard_error"] == pytest.approx(one["standard_error"])
    assert (two["cells"], two["items"]) == (2, 4)


def test_ranks_say_whether_the_next_is_really_worse() -> None:
    frame = pl.concat(
        [
            cell("best", "t", [1.0, 0.9] * 20, untrained=0.25),
            cell("middle", "t", [0.5, 0.4] * 20, untrained=0.25),
            cell("close", "t", [0.5, 0.4] * 19 + [0.0, 0.8], untrained=0.25),
        ]
    )
    table = ranking(frame, "source")
    assert table["source"].to_list() == ["best", "middle", "close"]
    assert table["rank"].to_list() == [1, 2, 3]
    assert table["significant"].to_list() == [True, False, None]
    assert table["difference_to_next"].to_list()[:2] == pytest.approx([0.5, 0.1 / 40])
    assert table["difference_standard_error"].to_list()[1] == pytest.approx(
        np.std([0.0] * 38 + [0.5, -0.4], ddof=1) / math.sqrt(40)
    )
    assert table["gain_over_untrained"].to_list()[:2] == pytest.approx([0.7, 0.2])


def test_a_difference_that_is_the_same_on_every_item_is_significant_and_none_is_not() -> None:
    frame = pl.concat([cell("a", "t", [0.2, 0.5]), cell("b", "t", [0.1, 0.4]), cell("c", "t", [0.1, 0.4])])
    assert ranking(frame, "source")["significant"].to_list() == [True, False, None]


def test_only_what_every_competitor_has_is_compared() -> None:
    """A cell that only one source has would lift or sink it by the teacher's strength alone."""
    frame = pl.concat(
        [
            cell("a", "weak", [0.2, 0.4]),
            cell("a", "strong", [1.0, 1.0]),
            cell("b", "weak", [0.3, 0.5]),
        ]
    )
    table = ranking(frame, "source")
    assert table.select("source", "complete", "cells").rows() == [("b", False, 1), ("a", True, 1)]
    assert table["score"].to_list() == pytest.approx([0.4, 0.3])
    assert ranking(frame, "teacher").select("teacher", "complete", "cells").rows() == [
        ("strong", False, 1),
        ("weak", True, 1),
    ]


def test_without_anything_in_common_there_are_no_ranks() -> None:
    table = ranking(pl.concat([cell("b", "t1", [1.0]), cell("a", "t2", [0.0])]), "source")
    assert table["source"].to_list() == ["a", "b"]
    assert table.select("rank", "score", "difference_to_next", "significant").null_count().row(0) == (2, 2, 2, 2)
    assert table.select("cells", "items").rows() == [(0, 0), (0, 0)]


def test_ties_are_in_the_order_of_names_whatever_the_order_of_rows() -> None:
    frames = [cell(name, teacher, [0.1, 0.2, 0.3]) for name, teacher in product("cab", ("t1", "t2", "t3"))]
    tables = [ranking(pl.concat(order), "source") for order in (frames, frames[::-1])]
    assert tables[0]["source"].to_list() == ["a", "b", "c"]
    assert tables[0].equals(tables[1])


def test_an_unknown_untrained_score_leaves_the_gain_open() -> None:
    assert ranking(cell("s", "t", [1.0, 0.0], untrained=None), "teacher")["gain_over_untrained"].to_list() == [None]


def test_no_scores_give_an_empty_ranking() -> None:
    table = ranking(cell("s", "t", [1.0]).clear(), "teacher")
    assert table.height == 0
    assert table.columns[:2] == ["rank", "teacher"]
