import math
from itertools import product

import numpy as np
import polars as pl
import pytest

from openthoughts_dagster.evaluation import (
    NothingToRank,
    Ranked,
    RankingScope,
    clustered_mean,
    paired_difference,
    rank_by_domain,
    ranking,
)


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
    a, b = [0.2, 0.5] * 5, [0.1, 0.4] * 5
    frame = pl.concat([cell("a", "t", a), cell("b", "t", b), cell("c", "t", b)])
    assert ranking(frame, "source")["significant"].to_list() == [True, False, None]
    few = pl.concat([cell("a", "t", a[:2]), cell("b", "t", b[:2])])  # by chance two items agree every other time
    assert ranking(few, "source")["significant"].to_list() == [False, None]


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


def test_seeds_that_differ_keep_a_difference_over_items_from_being_significant() -> None:
    generator = np.random.default_rng(3)
    difficulty = generator.uniform(size=400)
    level = {"a": (0.62, 0.38, 0.50), "b": (0.46, 0.60, 0.32)}  # the means differ by 4 points, the seeds by 14
    parts = [
        cell(name, "t", [float(x) for x in difficulty < right]).with_columns(seed=pl.lit(seed))
        for name, rights in level.items()
        for seed, right in enumerate(rights)
    ]
    every = ranking(pl.concat(parts), "source")
    assert every["seeds"].to_list() == [3, 3] and not every["significant"][0]
    error, items, seeds = every.select("standard_error", "error_items", "error_seeds").row(0)
    assert seeds == pytest.approx(np.std(level["a"], ddof=1) / math.sqrt(3), abs=0.02)
    assert error > items and error > 0.9 * seeds

    one = ranking(pl.concat(parts).filter(seed=0), "source")
    assert one["significant"][0] and one["error_seeds"].null_count() == 2
    assert one["standard_error"].to_list() == one["error_items"].to_list()
    assert one.equals(ranking(pl.concat(parts).filter(seed=0).drop("seed"), "source"))

    lacking = ranking(pl.concat(parts[:-1]), "source").sort("source")  # b has no student of seed 2
    assert lacking["seeds"].to_list() == [2, 2] and lacking["complete"].to_list() == [True, False]


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


def scope(**changes: object) -> RankingScope:
    known = {"recipe": "mine", "sources": {"a": "math", "b": "math", "c": "code"}, "teachers": ("t1", "t2")}
    return RankingScope(**{**known, "benchmarks": {"b": None}, **changes})  # type: ignore[arg-type]


def left_out(ranked: Ranked) -> list[tuple[str, ...]]:
    return ranked.left_out.select("what", "name", "domain").rows()


def test_rows_of_other_recipes_move_no_rank_and_are_named() -> None:
    """A retired teacher's leftover cell flipped an order, and a demo in the same lake left nothing in common."""
    own = [cell("a", "t1", [0.2, 0.4]), cell("b", "t1", [0.3, 0.5])]
    foreign = [
        cell("a", "retired", [1.0, 1.0]),
        cell("demo-source", "t1", [0.9, 0.9]),
        cell("a", "t1", [1.0, 1.0], "demo-benchmark"),
    ]
    alone, beside = (rank_by_domain(pl.concat(rows), "source", scope()) for rows in (own, own + foreign))
    assert beside.rows.equals(alone.rows)
    assert beside.overall["source"].to_list() == ["b", "a"]
    assert left_out(beside)[:3] == [
        ("source", "demo-source", "all"),
        ("teacher", "retired", "all"),
        ("benchmark", "demo-benchmark", "all"),
    ]


def test_a_source_that_is_not_scored_yet_is_named_and_the_others_are_ranked() -> None:
    ranked = rank_by_domain(pl.concat([cell("a", "t1", [0.2]), cell("b", "t1", [0.3])]), "source", scope())
    assert left_out(ranked) == [("source", "c", "all")]
    assert ranked.left_out["reason"].to_list() == ["none of its students is scored yet"]


def test_each_domain_has_a_ranking_over_its_own_sources() -> None:
    frame = pl.concat(
        [cell(source, teacher, [value]) for (source, teacher), value in {
            ("a", "t1"): 0.9, ("a", "t2"): 0.1, ("c", "t1"): 0.0, ("c", "t2"): 1.0,
        }.items()]
    )  # fmt: skip
    by_teacher = rank_by_domain(frame, "teacher", scope())
    assert by_teacher.rows.filter(rank=1).select("domain", "teacher").rows() == [
        ("all", "t2"),
        ("code", "t2"),
        ("math", "t1"),
    ]
    by_source = rank_by_domain(frame, "source", scope()).rows
    assert by_source.filter(domain="math")["source"].to_list() == ["a"]


def test_a_competitor_with_nothing_in_common_does_not_empty_the_ranking_of_the_others() -> None:
    """After a teacher was replaced, one source scored with the old one only made every rank null."""
    frame = pl.concat([cell("a", "t1", [0.2]), cell("b", "t1", [0.3]), cell("c", "t2", [0.9])])
    ranked = rank_by_domain(frame, "source", scope())
    assert ranked.overall.select("source", "rank").rows() == [("b", 1), ("a", 2), ("c", None)]
    assert ("source", "c", "all") in left_out(ranked)


def test_items_beyond_what_the_recipe_asks_for_do_not_count() -> None:
    positions = pl.Series("position", [0, 1, 2], dtype=pl.Int32)
    frame = pl.concat([cell(name, "t1", values).with_columns(positions) for name, values in
                       {"a": [1.0, 1.0, 0.0], "b": [0.0, 0.0, 1.0]}.items()])  # fmt: skip
    ranked = rank_by_domain(frame, "source", scope(benchmarks={"b": 2}))
    assert ranked.overall["items"].to_list() == [2, 2]
    assert ranked.overall["score"].to_list() == [1.0, 0.0]
    assert ("item", "b", "all") in left_out(ranked)


def test_a_held_out_benchmark_decides_nothing() -> None:
    frame = pl.concat([cell("a", "t1", [0.2]), cell("b", "t1", [0.3]), cell("a", "t1", [1.0], "final")])
    ranked = rank_by_domain(frame, "source", scope(held_out=frozenset({"final"})))
    assert ranked.overall["source"].to_list() == ["b", "a"]
    assert "it is held out: it is scored, and decides nothing" in ranked.left_out["reason"].to_list()


def test_one_text_under_two_metrics_is_two_items_whatever_the_repeats() -> None:
    def scored(name: str, metric: str) -> pl.DataFrame:
        return cell(name, "t1", [0.5]).with_columns(metric=pl.lit(metric))

    same = pl.concat([scored("a", "exact_match:n=4"), scored("b", "exact_match")])
    other = pl.concat([scored("a", "exact_match"), scored("b", "math_match")])
    assert rank_by_domain(same, "source", scope()).overall["rank"].to_list() == [1, 2]
    assert rank_by_domain(other, "source", scope()).overall["rank"].null_count() == 2


def test_a_ranking_of_nothing_says_what_there_is_instead() -> None:
    with pytest.raises(NothingToRank, match=r"recipe 'mine' is scored: materialize .*nothing, benchmark_scores is e"):
        rank_by_domain(cell("a", "t1", [1.0]).clear(), "source", scope())
    with pytest.raises(NothingToRank, match="source other: recipe 'mine' has no such source"):
        rank_by_domain(cell("other", "t1", [1.0]), "teacher", scope())
