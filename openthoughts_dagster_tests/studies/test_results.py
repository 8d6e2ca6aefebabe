"""What a study finds, from the tables of its students: results and decisions."""

import re
from pathlib import Path

import polars as pl
import pytest

from openthoughts_dagster.lake import ARM_SCORES, STUDY_VERSIONS, Lake
from openthoughts_dagster.studies import StudyError, adopted_settings, study_report, study_result
from openthoughts_dagster_tests.studies.scored_study import ARMS, score_arm, study_recipe


def test_an_arm_that_is_better_is_decided_for_with_its_errors(tmp_path: Path, lake: Lake) -> None:
    recipe = study_recipe(tmp_path)
    for arm, right in (("plain", 0.4), ("better", 0.7)):
        score_arm(lake, recipe, arm, right, range(4))
    result = study_result(lake, recipe, recipe.studies[0])

    assert result.winner == "better" and result.decision.startswith("better is better than plain")
    assert result.unclear == []
    assert "4 seeds, 120 items, p " in result.decision
    assert result.arms["arm_name"].to_list() == ["better", "plain"]
    assert result.arms["error_seeds"].null_count() == 0 and result.missing == []
    assert "epochs: 9" in adopted_settings(recipe, recipe.studies[0], "better")
    assert " points; 4 seeds" in result.decision

    scaled = study_recipe(tmp_path, metric="z_mean")
    for arm, right in (("plain", 0.4), ("better", 0.7)):
        score_arm(lake, scaled, arm, right, range(4))
    assert ", by +1.41 ± " in (decision := study_result(lake, scaled, scaled.studies[0]).decision)
    assert " standard deviations; 4 seeds" in decision


def test_what_others_reported_stands_beside_the_scores_and_not_among_them(tmp_path: Path, lake: Lake) -> None:
    reported = {"by": "arXiv <1>", "what": "points of one student", "scores": {"better": 41.3, "elsewhere": 12.5}}
    recipe = study_recipe(tmp_path, reported=reported)
    for arm, right in (("plain", 0.4), ("better", 0.7)):
        score_arm(lake, recipe, arm, right, range(2))
    study = recipe.studies[0]
    result = study_result(lake, recipe, study)
    assert set(result.arms["arm_name"]) == {"plain", "better"}
    page = study_report(recipe, study, result, lake.scan(STUDY_VERSIONS, study="s").collect())
    assert "What others reported" in page and "arXiv &lt;1&gt;" in page and "41.3" in page and "elsewhere" in page


def test_a_held_out_benchmark_decides_nothing(tmp_path: Path, lake: Lake) -> None:
    recipe = study_recipe(tmp_path)
    for arm, right in (("plain", 0.4), ("better", 0.7)):
        score_arm(lake, recipe, arm, right, range(4))
    before = study_result(lake, recipe, recipe.studies[0]).arms["score"].to_list()
    rows = lake.scan(ARM_SCORES).collect()
    spoilt = rows.with_columns(benchmark=pl.lit("sum-programs"), score=1 - pl.col("score"))
    for key in rows["arm_student"].unique():
        lake.replace(ARM_SCORES, pl.concat([rows, spoilt]).filter(arm_student=key), arm_student=key)
    assert study_result(lake, recipe, recipe.studies[0]).arms["score"].to_list() == before


def test_arms_that_are_alike_cannot_be_told_apart_and_the_seeds_that_would_do_are_said(
    tmp_path: Path, lake: Lake
) -> None:
    recipe = study_recipe(tmp_path)
    score_arm(lake, recipe, "plain", 0.5, range(4), seed_spread=0.1)
    score_arm(lake, recipe, "better", 0.53, range(4), seed_spread=0.1)
    result = study_result(lake, recipe, recipe.studies[0])
    assert result.winner is None and "cannot be told apart" in result.decision
    assert len(result.unclear) == 1
    assert result.decision.endswith("neither 100 seeds nor 100 times the benchmark items would be enough alone.")
    score_arm(lake, recipe, "better", 0.60, range(4), seed_spread=0.1)
    larger = study_result(lake, recipe, recipe.studies[0])
    assert larger.winner is None and re.search(r"; \d+ seeds would tell them apart", larger.decision)


def test_equal_arms_are_equivalent_within_the_margin_and_the_simplest_is_taken(tmp_path: Path, lake: Lake) -> None:
    recipe = study_recipe(tmp_path, margin=0.1, decision="simplest_within_margin")
    score_arm(lake, recipe, "plain", 0.50, range(4))
    score_arm(lake, recipe, "better", 0.51, range(4))
    result = study_result(lake, recipe, recipe.studies[0])
    assert result.winner == "plain" and "no worse than better by more than 10.0 points" in result.decision


def test_the_best_arm_is_not_taken_as_decided_for_because_it_comes_first(tmp_path: Path, lake: Lake) -> None:
    recipe = study_recipe(tmp_path, margin=0.05, decision="simplest_within_margin", arms=dict(reversed(ARMS.items())))
    score_arm(lake, recipe, "plain", 0.50, range(4), seed_spread=0.2)
    score_arm(lake, recipe, "better", 0.70, range(4), seed_spread=0.2)
    rows = lake.scan(ARM_SCORES, arm_student="s.plain.0").collect()
    lake.replace(ARM_SCORES, rows.head(100), arm_student="s.plain.0")
    result = study_result(lake, recipe, recipe.studies[0])
    assert (result.winner, result.unclear) == ("better", ["plain"])
    assert "better has the highest score. It cannot be told apart from plain, and is taken" in result.decision
    assert " 20 of 120 items are not compared, because some students have no score on them: mat" in result.decision


def test_one_seed_says_nothing_of_other_trainings(tmp_path: Path, lake: Lake) -> None:
    recipe = study_recipe(tmp_path, seeds=1)
    for arm, right in (("plain", 0.4), ("better", 0.8)):
        score_arm(lake, recipe, arm, right, range(1))
    result = study_result(lake, recipe, recipe.studies[0])
    assert "One seed says nothing of other trainings" in result.decision
    assert result.arms["error_seeds"].null_count() == 2


def test_only_seeds_that_every_arm_has_are_compared_and_the_missing_are_named(tmp_path: Path, lake: Lake) -> None:
    recipe = study_recipe(tmp_path)
    score_arm(lake, recipe, "plain", 0.4, range(4))
    score_arm(lake, recipe, "better", 0.7, range(1, 3))
    result = study_result(lake, recipe, recipe.studies[0])
    three = study_recipe(tmp_path, arms=ARMS | {"third": {"rows": 50}})
    for arm, right in (("plain", 0.4), ("better", 0.7)):
        score_arm(lake, three, arm, right, range(2))
    partial = study_result(lake, three, three.studies[0])
    assert partial.decision.endswith("Not compared, because they have no scores yet: third.")
    assert set(result.arms["seeds"]) == {2} and result.missing == ["s.better.0", "s.better.3"]
    assert result.decision.endswith(" Only 2 of 4 seeds are scored in every arm.")


def test_a_study_with_one_scored_arm_says_what_is_missing(tmp_path: Path, lake: Lake) -> None:
    recipe = study_recipe(tmp_path)
    score_arm(lake, recipe, "plain", 0.4, range(4))
    with pytest.raises(StudyError, match=r"1 of its 2 arms are scored.*s\.better\.0, s\.better\.1"):
        study_result(lake, recipe, recipe.studies[0])
