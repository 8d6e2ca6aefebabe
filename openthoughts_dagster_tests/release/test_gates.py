"""What stops a release, with rows and remedies, and what a waiver lets through."""

import shutil
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from openthoughts_dagster.lake import (
    COMPLETIONS,
    DEDUPED_QUESTIONS,
    REASONING_DATASET,
    REJECTED_ANSWERS,
    SOURCE_RANKING,
    Lake,
    text_hash,
)
from openthoughts_dagster.recipe import Recipe
from openthoughts_dagster.recipe.loading import SHIPPED
from openthoughts_dagster.release import ReleaseError
from openthoughts_dagster.release.gates import GATES, GateResult, check_personal_data, find_gate_failures
from openthoughts_dagster.release.pushing import require_open_gates
from openthoughts_dagster_tests.release.published import NOTHING, publish
from openthoughts_dagster_tests.release.sums import SHOP, SUMS, TEACHER, fill_source, small_lake, small_recipe, sums


def _recipe(folder: Path, **release: Any) -> Recipe:
    return small_recipe(folder / "recipe", **release)


def _with_licence(recipe: Recipe, licence: str) -> Recipe:
    """The recipe with this licence of one source."""
    sources = [each.model_copy(update={"licence": licence} if each.name == SHOP else {}) for each in recipe.sources]
    return recipe.model_copy(update={"sources": sources})


def _check(gate: str, lake: Lake, recipe: Recipe) -> GateResult:
    result = GATES[gate](lake, recipe, TEACHER)
    assert result.gate == gate and result.passed == (result.remedy == "")
    return result


def _waive(gate: str, source: str = SHOP) -> dict[str, Any]:
    return {"waive": [{"source": source, "gate": gate, "reason": "Agreed with the authors by letter."}]}


@pytest.mark.faults
def test_a_release_that_is_right_passes_every_gate(tmp_path: Path) -> None:
    lake, recipe = small_lake(tmp_path / "lake"), _recipe(tmp_path)
    publish(lake, recipe, tmp_path / "one")
    assert find_gate_failures(lake, recipe, TEACHER) == []
    require_open_gates(lake, recipe, TEACHER)


def test_licences_that_contradict_the_releases_stop_it_with_source_rows_and_remedy(tmp_path: Path) -> None:
    licence = "CC-BY-NC-SA-4.0"
    lake, recipe = small_lake(tmp_path / "lake", count=3), _with_licence(_recipe(tmp_path), licence)
    fill_source(lake, SHOP, sums(5000, 3), licence)
    publish(lake, recipe, tmp_path / "one")
    failed = _check("licence", lake, recipe)
    assert failed.says == "6 of 12 rows may not be in a release under Apache-2.0"
    assert failed.rows.row(0)[:3] == (SHOP, "CC-BY-NC-SA-4.0", 6)
    assert "forbids commercial use" in failed.describe() and f"source: {SHOP}, gate: licence" in failed.remedy
    with pytest.raises(
        ReleaseError, match=r"sums of worked cannot be pushed, 1 gate stops it:\n- licence: 6 of 12 rows"
    ):
        require_open_gates(lake, recipe, TEACHER)
    assert _check("licence", lake, _with_licence(_recipe(tmp_path, gates=_waive("licence")), licence)).passed
    allowed = _with_licence(_recipe(tmp_path, licence="Apache-2.0 AND CC-BY-NC-SA-4.0"), licence)
    assert _check("licence", lake, allowed).passed

    corrected = _check("licence", lake, _with_licence(allowed, "MIT"))  # in the recipe, and the source not read again
    assert corrected.rows.rows() == [(SHOP, licence, 6, "is MIT in the recipe")]
    fill_source(lake, SHOP, sums(5000, 3), licence="MIT")  # read again with another licence, and not yet released
    stale = _check("licence", lake, allowed)
    assert stale.says == "6 of 12 rows have another licence by now than they had in the release"
    assert stale.rows["problem"].to_list() == ["is MIT in deduped_questions"]
    assert stale.remedy.startswith(f"{SHOP}: materialize raw_sources")


def test_a_question_that_leaks_by_now_stops_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("openthoughts_dagster.release.texts._PART", 2)  # questions are read in several parts
    lake, recipe = small_lake(tmp_path / "lake", count=3), _recipe(tmp_path)
    fill_source(lake, SUMS, {**sums(1000, 2), "What is 84 + 26?": [("r", "110")]})
    publish(lake, recipe, tmp_path / "one", NOTHING)
    (tmp_path / "recipe" / "benchmarks").unlink()
    shutil.copytree(SHIPPED / "quickstart" / "benchmarks", tmp_path / "recipe" / "benchmarks")
    path = tmp_path / "recipe" / "benchmarks" / "two_digit_sums" / "test.jsonl"
    path.write_text('{"question": "What is 84 + 26?", "answer": "110"}\n')
    failed = _check("contamination", lake, recipe)
    assert failed.says.startswith("1 of 6 questions leak from ")
    assert failed.rows["source"].to_list() == [SUMS] and "materialize deduped_questions" in failed.remedy
    assert failed.rows["question_id"].to_list() == [text_hash("What is 84 + 26?")]
    assert _check("contamination", lake, _recipe(tmp_path, gates=_waive("contamination", SUMS))).passed


@pytest.mark.faults
def test_missing_answers_sources_and_texts_stop_it(tmp_path: Path) -> None:
    lake, recipe = Lake(tmp_path / "lake"), _recipe(tmp_path)
    fill_source(lake, SUMS, sums(1000, 10))
    fill_source(lake, SHOP, {**sums(5000, 8), "a": [("r", "1"), None], "b": [None, None]})
    publish(lake, recipe, tmp_path / "one")
    failed = _check("completeness", lake, recipe)
    assert failed.says == "3 of 40 answers are missing (7.5%, at most 1.0%)" and "openthoughts retry" in failed.remedy
    assert failed.rows.to_dicts() == [{"source": SHOP, "wanted": 20, "missing": 3, "questions": 10}]
    assert _check("completeness", lake, _recipe(tmp_path, gates={"missing": 0.08})).passed
    assert _check("completeness", lake, _recipe(tmp_path, gates=_waive("completeness"))).passed
    more = _check("completeness", lake, _recipe(tmp_path, answers_per_question=50))
    assert more.remedy.startswith("raise answers_per_question, which is 2, to the release's 50, and ask for")
    # A number of questions is drawn from those that have answers: "b" is not missing then.
    drawn = _check("completeness", lake, _recipe(tmp_path, sizes={"math": 19}))
    assert drawn.says.startswith("1 of 38 answers")

    rows = lake.scan(REASONING_DATASET, teacher=TEACHER).filter(source=SUMS).collect()
    lake.replace(REASONING_DATASET, rows.with_columns(completion_id=pl.lit("lost")), teacher=TEACHER)
    lost = _check("completeness", lake, recipe)
    assert f"no rows of {SHOP}" in lost.says
    assert "20 rows name a question or a completion that the lake does not" in lost.says
    assert lost.rows.select("source", "sample_index", "lost").row(0) == (SUMS, 0, "completion")
    without = _check("completeness", lake, _recipe(tmp_path, sources=[SHOP]))  # taken out of the recipe since
    assert f"rows of {SUMS}, which release.sources does not name" in without.says


@pytest.mark.faults
def test_cut_off_answers_over_the_recipes_share_stop_it(tmp_path: Path) -> None:
    lake, recipe = small_lake(tmp_path / "lake", count=10), _recipe(tmp_path)
    ledger = lake.scan(COMPLETIONS).collect()
    cut = pl.when(pl.int_range(pl.len()) < 4).then(pl.lit("unfinished")).otherwise("outcome").alias("outcome")
    lake.replace(COMPLETIONS, ledger.sort("source").with_columns(cut))
    publish(lake, recipe, tmp_path / "one")
    failed = _check("truncation", lake, recipe)
    assert failed.says == "4 of 40 answers are cut off (10.0%, at most 5.0%)"
    assert failed.rows["share"].to_list() == [0.2, 0.0] and "raise max_tokens of worked" in failed.remedy
    assert _check("truncation", lake, _recipe(tmp_path, gates={"truncated": 0.1})).passed


@pytest.mark.faults
def test_a_release_without_its_version_or_card_does_not_leave(tmp_path: Path) -> None:
    lake, recipe = small_lake(tmp_path / "lake", count=3), _recipe(tmp_path)
    made = publish(lake, recipe, tmp_path / "one")
    folder = Path(made.path)
    (folder / "README.md").write_text("---\nlicense: apache-2.0\n---\n# Mine\n")
    assert f"does not name the version {made.version}" in _check("card", lake, recipe).says
    (folder / "README.md").unlink()
    assert "has no card" in _check("card", lake, recipe).says
    assert _check("card", Lake(tmp_path / "empty"), recipe).remedy == "materialize reasoning_dataset"
    assert "there are no rows" in _check("completeness", Lake(tmp_path / "empty"), recipe).says


@pytest.mark.faults
def test_the_best_sources_are_those_of_the_present_ranking(tmp_path: Path) -> None:
    lake, recipe = small_lake(tmp_path / "lake", count=3), _recipe(tmp_path, sources={"best": 1, "domains": ["math"]})
    named = _recipe(tmp_path / "named", sources=[SUMS])
    publish(lake, named, tmp_path / "one")
    assert "source_ranking" in _check("ranking", lake, recipe).says
    _rank(lake, SUMS, SHOP)
    assert _check("ranking", lake, recipe).passed
    _rank(lake, SHOP, SUMS)
    failed = _check("ranking", lake, recipe)
    assert failed.rows.rows() == [
        (SUMS, "is not among the best any more"),
        (SHOP, "is among the best, and not in it"),
    ]
    assert _check("ranking", lake, named).passed
    without = recipe.model_copy(update={"sources": [each for each in recipe.sources if each.name != SHOP]})
    stale = _check("ranking", lake, without)  # the source was taken out of the recipe, and nothing was ranked since
    assert "source_ranking is older than the recipe" in stale.says and SHOP in stale.says
    with pytest.raises(ReleaseError, match="older than the recipe"):
        publish(lake, without, tmp_path / "two")


def _rank(lake: Lake, *best_first: str) -> None:
    rows = [
        {"rank": place, "source": source, "domain": "math", "score": 1 / place, "items": 100, "cells": 2}
        | {"complete": True, "significant": True, "best": place == 1}
        for place, source in enumerate(best_first, 1)
    ]
    lake.replace(SOURCE_RANKING, pl.DataFrame(rows, schema=SOURCE_RANKING.schema))


@pytest.mark.faults
def test_personal_data_warns_by_column_and_shows_rows(tmp_path: Path) -> None:
    lake, recipe = small_lake(tmp_path / "lake", count=3), _recipe(tmp_path)
    fill_source(lake, SHOP, {"Ask ada@analytical.org: 1 + 2?": [("call (650) 253-0000", "3"), ("b", "3")], "x": [None]})
    lost = lake.scan(REJECTED_ANSWERS).collect().with_columns(evidence=pl.lit("cy@analytical.org has no credit"))
    lake.replace(REJECTED_ANSWERS, lost, source=SHOP, teacher=TEACHER)
    rows = lake.scan(DEDUPED_QUESTIONS, source=SHOP).collect()
    kept = rows.with_columns(reference_answer=pl.lit("3, says bob@analytical.org"))
    lake.replace(DEDUPED_QUESTIONS, kept, source=SHOP)
    publish(lake, recipe, tmp_path / "one")
    found = check_personal_data(lake, recipe, TEACHER)
    assert not found.passed and not found.blocking and check_personal_data not in GATES.values()
    assert found.says == (
        "possible personal data: 1 x email-validator in evidence, 1 x email-validator in question, "
        "1 x phonenumbers in reasoning, 1 x email-validator in reference_answer"
    )
    kinds = [("question", "email"), ("reference_answer", "email"), ("evidence", "email"), ("reasoning", "phone")]
    assert [row[:2] for row in found.rows.rows()] == kinds
    assert found.rows["row"][3].startswith(f"{SHOP} ") and found.rows["row"][3].endswith(" sample 0")
    assert lake.scan(DEDUPED_QUESTIONS).collect().height == 5
