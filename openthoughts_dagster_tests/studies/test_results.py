"""What a study finds, from the tables of its students: results, decisions, versions, and the report."""

import threading
from concurrent.futures import ThreadPoolExecutor
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import yaml

from openthoughts_dagster.lake import ARM_SCORES, ARM_STUDENTS, STUDY_RESULTS, STUDY_VERSIONS, Lake
from openthoughts_dagster.recipe import Recipe, load_recipe
from openthoughts_dagster.recipe.loading import SHIPPED
from openthoughts_dagster.studies import (
    StudyError,
    adopted_settings,
    decision_of,
    freeze_study,
    study_report,
    study_result,
)

ITEMS = 120
ARMS: dict[str, dict[str, Any]] = {"plain": {"rows": 100}, "better": {"rows": 100, "epochs": 9}}


def _recipe(folder: Path, **changes: Any) -> Recipe:
    study = {"name": "s", "question": "Is <b>more</b> better?", "arms": ARMS, "seeds": 4} | changes
    document = yaml.safe_load((SHIPPED / "quickstart" / "recipe.yaml").read_text()) | {"studies": [study]}
    path = folder / "recipe.yaml"
    path.write_text(yaml.safe_dump(document, sort_keys=False))
    return load_recipe(str(path), {"OPENTHOUGHTS_DATA": str(folder)})


def _score(lake: Lake, recipe: Recipe, arm: str, right: float, seeds: range, seed_spread: float = 0.0) -> None:
    """Scores of an arm's students: the same items for all, right as often as `right` says."""
    [study] = recipe.studies
    version = freeze_study(lake, recipe, study)
    hard = np.random.default_rng(0).uniform(size=ITEMS)
    for seed in seeds:
        generator = np.random.default_rng([seed, len(arm)])
        moved = right + generator.normal(0, seed_spread) + generator.normal(0, 0.05, ITEMS)
        key = f"s.{arm}.{seed}"
        labels = {"arm_student": key, "study": "s", "version": version, "arm_name": arm, "seed": seed}
        rows = pl.DataFrame(
            {
                **{name: [value] * ITEMS for name, value in labels.items()},
                "benchmark": ["sums"] * ITEMS,
                "metric": ["exact"] * ITEMS,
                "item": [f"{n:03}" for n in range(ITEMS)],
                "score": (hard < moved).astype(float),
                "repeats": pl.Series([1] * ITEMS, dtype=pl.Int32),
                "untrained_score": [0.0] * ITEMS,
            }
        )
        filled = rows.with_columns(
            pl.lit(None, dtype=kind).alias(name)
            for name, kind in ARM_SCORES.columns.items()
            if name not in rows.columns
        )
        lake.replace(ARM_SCORES, filled.select(list(ARM_SCORES.columns)), arm_student=key)
        student = {name: None if kind != pl.String else "" for name, kind in ARM_STUDENTS.columns.items()}
        numbers = {"rows": 100, "dropped_rows": 0, "steps": 10, "train_tokens": 5000, "seconds": 1.0, "final_loss": 0.5}
        record = pl.DataFrame([student | labels | numbers], schema=ARM_STUDENTS.schema)
        lake.replace(ARM_STUDENTS, record, arm_student=key)


def test_an_arm_that_is_better_is_decided_for_with_its_errors(tmp_path: Path, lake: Lake) -> None:
    recipe = _recipe(tmp_path)
    for arm, right in (("plain", 0.4), ("better", 0.7)):
        _score(lake, recipe, arm, right, range(4))
    result = study_result(lake, recipe, recipe.studies[0])

    assert result.winner == "better" and result.decision.startswith("better is better than plain")
    assert result.unclear == []
    assert "4 seeds, 120 items, p " in result.decision
    assert result.arms["arm_name"].to_list() == ["better", "plain"]
    assert result.arms["error_seeds"].null_count() == 0 and result.missing == []
    assert "epochs: 9" in adopted_settings(recipe.studies[0], "better")


def test_what_others_reported_stands_beside_the_scores_and_not_among_them(tmp_path: Path, lake: Lake) -> None:
    reported = {"by": "arXiv <1>", "what": "points of one student", "scores": {"better": 41.3, "elsewhere": 12.5}}
    recipe = _recipe(tmp_path, reported=reported)
    for arm, right in (("plain", 0.4), ("better", 0.7)):
        _score(lake, recipe, arm, right, range(2))
    study = recipe.studies[0]
    result = study_result(lake, recipe, study)
    assert set(result.arms["arm_name"]) == {"plain", "better"}
    page = study_report(study, result, lake.scan(STUDY_VERSIONS, study="s").collect())
    assert "What others reported" in page and "arXiv &lt;1&gt;" in page and "41.3" in page and "elsewhere" in page


def test_two_runs_that_start_a_study_at_once_record_one_version(tmp_path: Path, lake: Lake) -> None:
    recipe = _recipe(tmp_path)
    lakes, barrier = [Lake(lake.root) for _ in range(4)], threading.Barrier(4)

    def start(own: Lake) -> str:
        barrier.wait()
        return freeze_study(own, recipe, recipe.studies[0])

    with ThreadPoolExecutor(4) as threads:
        versions = set(threads.map(start, lakes))
    rows = lake.scan(STUDY_VERSIONS, study="s").collect()
    assert len(versions) == 1 and rows["version"].to_list() == list(versions) and rows["number"].to_list() == [1]


def test_a_held_out_benchmark_decides_nothing(tmp_path: Path, lake: Lake) -> None:
    recipe = _recipe(tmp_path)
    for arm, right in (("plain", 0.4), ("better", 0.7)):
        _score(lake, recipe, arm, right, range(4))
    before = study_result(lake, recipe, recipe.studies[0]).arms["score"].to_list()
    rows = lake.scan(ARM_SCORES).collect()
    spoilt = rows.with_columns(benchmark=pl.lit("sum-programs"), score=1 - pl.col("score"))
    for key in rows["arm_student"].unique():
        lake.replace(ARM_SCORES, pl.concat([rows, spoilt]).filter(arm_student=key), arm_student=key)
    assert study_result(lake, recipe, recipe.studies[0]).arms["score"].to_list() == before


def test_arms_that_are_alike_cannot_be_told_apart_and_the_seeds_that_would_do_are_said(
    tmp_path: Path, lake: Lake
) -> None:
    recipe = _recipe(tmp_path)
    _score(lake, recipe, "plain", 0.5, range(4), seed_spread=0.1)
    _score(lake, recipe, "better", 0.53, range(4), seed_spread=0.1)
    result = study_result(lake, recipe, recipe.studies[0])
    assert result.winner is None and "cannot be told apart" in result.decision
    assert len(result.unclear) == 1
    assert "seeds would tell them apart" in result.decision or "more benchmark items" in result.decision


def test_equal_arms_are_equivalent_within_the_margin_and_the_simplest_is_taken(tmp_path: Path, lake: Lake) -> None:
    recipe = _recipe(tmp_path, margin=0.1, decision="simplest_within_margin")
    _score(lake, recipe, "plain", 0.50, range(4))
    _score(lake, recipe, "better", 0.51, range(4))
    result = study_result(lake, recipe, recipe.studies[0])
    assert result.winner == "plain" and "no worse than better by more than 10.0%" in result.decision


def test_one_seed_says_nothing_of_other_trainings(tmp_path: Path, lake: Lake) -> None:
    recipe = _recipe(tmp_path, seeds=1)
    for arm, right in (("plain", 0.4), ("better", 0.8)):
        _score(lake, recipe, arm, right, range(1))
    result = study_result(lake, recipe, recipe.studies[0])
    assert "One seed says nothing of other trainings" in result.decision
    assert result.arms["error_seeds"].null_count() == 2


def test_only_seeds_that_every_arm_has_are_compared_and_the_missing_are_named(tmp_path: Path, lake: Lake) -> None:
    recipe = _recipe(tmp_path)
    _score(lake, recipe, "plain", 0.4, range(4))
    _score(lake, recipe, "better", 0.7, range(1, 3))
    result = study_result(lake, recipe, recipe.studies[0])
    assert set(result.arms["seeds"]) == {2} and result.missing == ["s.better.0", "s.better.3"]


def test_a_study_with_one_scored_arm_says_what_is_missing(tmp_path: Path, lake: Lake) -> None:
    recipe = _recipe(tmp_path)
    _score(lake, recipe, "plain", 0.4, range(4))
    with pytest.raises(StudyError, match=r"1 of its 2 arms are scored.*s\.better\.0, s\.better\.1"):
        study_result(lake, recipe, recipe.studies[0])


def test_what_was_asked_is_frozen_and_a_change_is_another_version(tmp_path: Path, lake: Lake) -> None:
    first = _recipe(tmp_path)
    versions = [freeze_study(lake, first, first.studies[0]) for _ in range(2)]
    changed = _recipe(tmp_path, seeds=5)
    versions.append(freeze_study(lake, changed, changed.studies[0]))
    assert versions[0] == versions[1] != versions[2]
    assert lake.scan(STUDY_VERSIONS).sort("number").collect()["number"].to_list() == [1, 2]


def test_the_decision_of_an_older_version_is_not_that_of_the_present_one(tmp_path: Path, lake: Lake) -> None:
    old = _recipe(tmp_path)
    for arm, right in (("plain", 0.4), ("better", 0.7)):
        _score(lake, old, arm, right, range(4))
    lake.replace(STUDY_RESULTS, study_result(lake, old, old.studies[0]).arms, study="s")
    assert decision_of(lake, old, old.studies[0]).startswith("better is better than plain")
    changed = _recipe(tmp_path, seeds=5)
    assert decision_of(lake, changed, changed.studies[0]) == ""


def test_the_report_is_one_file_without_a_network_and_escapes_what_people_wrote(tmp_path: Path, lake: Lake) -> None:
    recipe = _recipe(tmp_path)
    for arm, right in (("plain", 0.4), ("better", 0.7)):
        _score(lake, recipe, arm, right, range(4))
    study = recipe.studies[0]
    result = study_result(lake, recipe, study)
    report = study_report(study, result, lake.scan(STUDY_VERSIONS).collect(), ["Version 0 found: <script>"])

    assert "Is &lt;b&gt;more&lt;/b&gt; better?" in report and "<script>" not in report
    assert "<svg" in report and escape(result.decision) in report and "openthoughts study adopt s" in report
    assert not any(f'{attribute}="http' in report.replace("xmlns", "") for attribute in ("src", "href"))
