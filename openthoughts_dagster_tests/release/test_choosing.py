"""Which rows a release has, in which order, and why everything else is left out."""

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from openthoughts_dagster.answers import FilterTools
from openthoughts_dagster.generation.requests import Answer
from openthoughts_dagster.lake import SOURCE_RANKING, Lake, text_hash
from openthoughts_dagster.recipe.answers import MajorityAnswers
from openthoughts_dagster.release import ReleaseError, ReleaseRows, choose_rows
from openthoughts_dagster_tests.release.sums import SHOP, SUMS, TEACHER, fill_source, small_lake, small_recipe, sums


def _reply(text: str) -> Answer:
    return Answer("key", 0, None, text, "stop", None, 1, 1)


NOTHING = pl.DataFrame(schema={"benchmark": pl.String, "question": pl.String, "split": pl.String})


def _choose(lake: Lake, folder: Path, benchmarks: pl.DataFrame = NOTHING, **release: Any) -> ReleaseRows:
    return choose_rows(lake, small_recipe(folder / "recipe", **release), TEACHER, benchmarks)


def _counts_add_up(chosen: ReleaseRows) -> None:
    """Each step's questions and answers are those of the step before, less what it rejected."""
    steps = chosen.funnel.group_by("step", maintain_order=True).agg(pl.col("questions", "answers").sum())
    gone = chosen.rejected
    for (_, before, _), (step, after, _) in zip(steps.rows(), steps.rows()[1:], strict=False):
        assert before - after == gone.filter(pl.col("sample_index").is_null(), step=step).height, step
    assert steps.rows()[-1][1:] == (
        chosen.rows.select("source", "question_id").unique().height,
        chosen.rows.height,
    )
    assert set(gone["step"]) <= set(steps["step"])


def test_a_question_of_two_sources_stays_with_the_source_that_is_named_first(tmp_path: Path) -> None:
    lake = Lake(tmp_path / "lake")
    fill_source(lake, SUMS, sums(1, 10))
    fill_source(lake, SHOP, {"What is 3 + 4? ": [("r", "7")], **sums(100, 5)})

    chosen = _choose(lake, tmp_path, sources=[SHOP, SUMS])
    assert sorted(chosen.rows["source"].unique()) == [SHOP, SUMS]
    [dropped] = chosen.rejected.iter_rows(named=True)
    assert (dropped["source"], dropped["step"], dropped["reason"]) == (SUMS, "dedup", "duplicate_exact")
    assert json.loads(dropped["evidence"])["of_source"] == SHOP
    _counts_add_up(chosen)
    other = _choose(lake, tmp_path, sources=[SUMS, SHOP])
    assert set(other.rejected["source"]) == {SHOP}
    assert _choose(lake, tmp_path, dedup={"method": "none"}).rejected.is_empty()


def test_a_question_that_stands_twice_in_its_own_source_stays_twice(tmp_path: Path) -> None:
    lake = Lake(tmp_path / "lake")
    fill_source(lake, SUMS, {"What is 3 + 4?": [("r", "7")], "What is 3 + 4? ": [("s", "7")]})
    fill_source(lake, SHOP, sums(100, 2))
    assert _choose(lake, tmp_path).rows.filter(source=SUMS).height == 2


def test_leaks_and_questions_of_older_releases_are_left_out_with_evidence(tmp_path: Path) -> None:
    lake = Lake(tmp_path / "lake")
    fill_source(lake, SUMS, sums(1, 6))
    fill_source(lake, SHOP, sums(100, 6))
    pl.DataFrame({"question": ["What is 101 + 102?"]}).write_parquet(tmp_path / "older.parquet")
    benchmarks = pl.DataFrame({"benchmark": ["b"], "question": ["What is 2 + 3?"], "split": ["test"]})

    chosen = _choose(lake, tmp_path, benchmarks, against=[str(tmp_path / "older.parquet")])
    reasons = {
        row["step"]: (row["source"], row["reason"], row["evidence"]) for row in chosen.rejected.iter_rows(named=True)
    }
    assert reasons["against"][:2] == (SHOP, "older_release_exact") and "older.parquet" in reasons["against"][2]
    assert reasons["decontamination"][0] == SUMS and '"benchmark": "b"' in reasons["decontamination"][2]
    assert chosen.rejected.height == 2
    _counts_add_up(chosen)
    with pytest.raises(ReleaseError, match=r"release\.against: nothing is at .*lost"):
        _choose(lake, tmp_path, against=[str(tmp_path / "lost")])


def test_a_smaller_release_is_in_the_larger_one_in_the_same_order(tmp_path: Path) -> None:
    lake = small_lake(tmp_path / "lake", count=40)
    large, small = (_choose(lake, tmp_path, sizes={"math": size}).rows for size in (60, 20))
    names = ["source", "question_id", "sample_index"]
    inside = large.join(small, on=names, how="semi", maintain_order="left").select(names)
    assert inside.equals(small.select(names)) and small.height == 40
    assert set(small["source"]) == {SUMS, SHOP}  # a domain's size is drawn over its sources together
    assert small["position"].to_list() == list(range(40))
    assert large.select(names).rows() != sorted(large.select(names).rows())
    again = _choose(lake, tmp_path, sizes={"math": 20}).rows
    assert again.equals(small)
    other = _choose(lake, tmp_path, sizes={"math": 20}, seed=7).rows
    assert set(other["question_id"]) != set(small["question_id"])


def test_a_question_with_fewer_answers_stays_and_the_shortfall_is_said(tmp_path: Path) -> None:
    lake = Lake(tmp_path / "lake")
    questions: dict[str, Any] = sums(1, 4, samples=3)
    questions["What is 1 + 2?"] = [("r", "3"), None, None]
    questions["What is 2 + 3?"] = [None, None, None]
    fill_source(lake, SUMS, questions)
    fill_source(lake, SHOP, sums(100, 2, samples=1))

    chosen = _choose(lake, tmp_path, answers_per_question=2)
    assert dict(chosen.rows["source"].value_counts().iter_rows()) == {SUMS: 5, SHOP: 2}
    assert set(chosen.rows["sample_index"]) == {0, 1}
    [said] = chosen.shortfalls
    assert "3 of 5 questions have fewer than 2 answers" in said and f"{SHOP}: 2 questions lack 2 answers" in said
    reasons = dict(chosen.rejected["reason"].value_counts().iter_rows())
    assert reasons == {"no_answer": 1, "more_than_asked": 2}
    [unanswered] = chosen.rejected.filter(reason="no_answer")["evidence"]
    assert unanswered == "3 error: the server said no"
    _counts_add_up(chosen)


def test_a_release_that_ends_short_says_by_how_much_and_why(tmp_path: Path) -> None:
    lake = Lake(tmp_path / "lake")
    fill_source(lake, SUMS, {**sums(1, 9), "What is 50 + 51?": [None, None]})
    fill_source(lake, SHOP, sums(5, 10))
    says = r"two-digit-sums has 9 of 12 questions, 3 too few: 10 were asked, answered took 1\. .*`short: true`"
    with pytest.raises(ReleaseError, match=says):
        _choose(lake, tmp_path, sizes={SUMS: 12})
    chosen = _choose(lake, tmp_path, sizes={"math": 100}, short=True)
    assert (
        "math has 14 of 100 questions, 86 too few: 20 were asked, answered took 1, dedup took 5." in chosen.shortfalls
    )


def test_an_answer_filter_and_the_majority_with_its_agreement(tmp_path: Path) -> None:
    lake = Lake(tmp_path / "lake")
    fill_source(lake, SUMS, {"What is 1 + 2?": [("r", "3"), ("r", "3"), ("r", "4"), ("r", "3")]})
    fill_source(lake, SHOP, {"What is 2 + 2?": [("r", "4"), ("r", "5")]})

    chosen = _choose(lake, tmp_path, answers_per_question=4, majority=True)
    by_sample = {(row["source"], row["sample_index"]): row for row in chosen.rows.iter_rows(named=True)}
    assert [by_sample[SUMS, k]["majority"] for k in range(4)] == [True, True, False, True]
    assert {row["agreement"] for row in by_sample.values()} == {0.75, 0.0}  # a tie has no majority
    filtered = _choose(lake, tmp_path, answers_per_question=4, answer_filter={"method": "majority", "match": "exact"})
    assert filtered.rows.height == 3 and filtered.rows["agreement"].null_count() == 3
    assert set(filtered.rejected["reason"]) == {"not_majority", "no_answer_left"}
    # A judge that compares results for the filter compares them for the agreement as well.
    fill_source(lake, SHOP, {"What is 2 + 2?": [("r", "four"), ("r", "4")]})
    settings: dict[str, Any] = {"method": "majority", "match": "judge", "judge": "j"}
    recipe = small_recipe(tmp_path / "recipe", answers_per_question=4, majority=True)
    assert recipe.release is not None
    judged = recipe.release.model_copy(update={"answer_filter": MajorityAnswers(**settings)})
    agreeing = FilterTools(judge=lambda _: lambda prompts: [[_reply('{"same": true}')] for _ in prompts])
    both = choose_rows(lake, recipe.model_copy(update={"release": judged}), TEACHER, NOTHING, agreeing)
    assert both.rows.filter(source=SHOP)["agreement"].to_list() == [1.0, 1.0]
    _counts_add_up(filtered)


def test_what_is_missing_is_named_with_source_teacher_and_lake(tmp_path: Path) -> None:
    lake = Lake(tmp_path / "lake")
    with pytest.raises(ReleaseError, match=f"{SUMS}, {SHOP} has no question in deduped_questions of {lake.root}"):
        _choose(lake, tmp_path)
    fill_source(lake, SUMS, sums(1, 3))
    fill_source(lake, SHOP, sums(10, 3), teacher="direct")
    with pytest.raises(ReleaseError, match=rf"no answer of worked to {SHOP} in .*backfill_teacher for {SHOP}\|worked"):
        _choose(lake, tmp_path)
    fill_source(lake, SHOP, sums(1, 3))
    benchmarks = pl.DataFrame({"benchmark": ["b"] * 3, "question": list(sums(1, 3)), "split": ["test"] * 3})
    with pytest.raises(ReleaseError, match=r"no row is left.*decontamination: 6 went as benchmark"):
        _choose(lake, tmp_path, benchmarks)


def test_the_best_sources_are_taken_only_from_a_ranking_that_decides(tmp_path: Path) -> None:
    lake = small_lake(tmp_path / "lake", count=3)
    wanted = {"best": 1, "domains": ["math"]}
    with pytest.raises(ReleaseError, match=r"release\.sources: best 1 of math, and source_ranking has 0"):
        _choose(lake, tmp_path, sources=wanted)
    row = dict.fromkeys(SOURCE_RANKING.columns) | {"domain": "math", "items": 9, "cells": 1, "complete": True}
    ranked = [
        row | {"rank": 1, "source": SHOP, "significant": True, "p_value": 0.01},
        row | {"rank": 2, "source": SUMS},
    ]
    lake.replace(SOURCE_RANKING, pl.DataFrame(ranked, schema=SOURCE_RANKING.schema))
    assert set(_choose(lake, tmp_path, sources=wanted).rows["source"]) == {SHOP}
    undecided = [ranked[0] | {"significant": False, "p_value": 0.4}, ranked[1]]
    lake.replace(SOURCE_RANKING, pl.DataFrame(undecided, schema=SOURCE_RANKING.schema))
    with pytest.raises(ReleaseError, match=f"cannot tell {SHOP} .* from {SUMS} .*p = 0.4.*or name the sources"):
        _choose(lake, tmp_path, sources=wanted)


def test_every_row_says_domain_licence_and_content(tmp_path: Path) -> None:
    rows = _choose(small_lake(tmp_path / "lake", count=2), tmp_path).rows
    assert set(rows["licence"]) == {"Apache-2.0"} and set(rows["domain"]) == {"math"}
    assert set(rows["difficulty"]) == {1, 2} and rows["content"].n_unique() == 8
    assert text_hash("What is 1000 + 1001?") in set(rows["question_id"])
    unrated = small_recipe(tmp_path / "recipe").model_copy(update={"scores": []})
    without = choose_rows(small_lake(tmp_path / "lake", count=2), unrated, TEACHER, NOTHING).rows
    assert without["difficulty"].null_count() == without.height == 8
