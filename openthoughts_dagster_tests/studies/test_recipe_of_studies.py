"""Studies as data: what is refused, how arms are made, and what their design is."""

import shutil
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import yaml

from openthoughts_dagster.defs.check_rules import (
    Partition,
    best_sources_are_told_apart,
    release_sources_are_told_apart,
)
from openthoughts_dagster.evaluation import doubts_about_best
from openthoughts_dagster.lake import DEDUPED_QUESTIONS, SOURCE_RANKING, Lake, text_hash
from openthoughts_dagster.recipe import Recipe, RecipeError, load_recipe
from openthoughts_dagster.recipe.loading import SHIPPED
from openthoughts_dagster.recipe.study_references import study_problems
from openthoughts_dagster.studies import StudyError, arm_named, arm_questions, arms_of, student_keys, study_version
from openthoughts_dagster.studies.design import questions_by_source

STUDY: dict[str, Any] = {
    "name": "s",
    "question": "Which?",
    "base": {"sources": ["two-digit-sums"], "rows": 60},
    "arms": {"a": {"questions": 60, "answers_per_question": 1}, "b": {"questions": 15, "answers_per_question": 4}},
    "seeds": 2,
}


def _recipe(folder: Path, study: dict[str, Any]) -> Recipe:
    document = yaml.safe_load((SHIPPED / "quickstart" / "recipe.yaml").read_text()) | {"studies": [study]}
    path = folder / "recipe.yaml"
    path.write_text(yaml.safe_dump(document, sort_keys=False))
    return load_recipe(str(path), {"OPENTHOUGHTS_DATA": str(folder)})


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        (
            {"arms": {"a": {"teacher": "nobody"}}},
            r"studies\.s\.arms\.a\.teacher: the recipe has no 'nobody'; name another of worked, direct, or add",
        ),
        (
            {"base": {"sources": ["lost"]}},
            r"studies\.s\.base\.sources: the recipe has no 'lost' \(every arm .*; name another of two-.*, or",
        ),
        ({"arms": {"a": {"sources": ["shop-sum"]}, "b": {}}}, r"s\.arms\.a\.sources: .*did you mean 'shop-sums'\?"),
        ({"arms": {"a": {"sampling": {"temperatur": 1}}, "b": {}}}, r"studies\.s\.a\.sampling\.temperatur: "),
        (
            {"arms": {"a": {}, "b": {"student": {"training": {"learning_rate": -1}}}}},
            r"studies\.s\.b\.student\.training\..*learning_rate: .*greater than 0, got -1",
        ),
        ({"arms": {"a": {"sources": []}, "b": {}}}, r"studies\.s\.a\.sources: is empty, so that the arm has no quest"),
        ({"arms": {"a": {"questions": 0}, "b": {}}}, r"arms\.a\.questions: must be above 0, got 0"),
        ({"base": {"sources": ["shop-sums", "shop-sums"]}}, r"studies\.s\.a\.sources: names a source twice"),
        (
            {"base": {"sources": ["two-digit-sums"], "shares": {"two-digit-sums": 0.5}}},
            r"studies\.s\.a\.shares: must be above 0 and sum to 1, got 0\.5",
        ),
        ({"arms": {"a": {}, "b": {"rows": 60}}}, r"studies\.s\.b: is the same as arm 'a', with the base"),
        ({"arms": {"a": {}, "b": {"teacher": "worked"}}}, r"studies\.s\.b: is the same as arm 'a', with the base"),
        ({"metric": "nothing"}, r"studies\.s\.metric: no benchmark is called 'nothing'; there are two-digit-sums-test"),
        ({"arms": {"a": {"rows": 5}, "b": {"rows": 5}}}, r"is the same as arm 'a'"),
        ({"arms": {}}, "give arms, or a grid"),
        ({"arms": None, "grid": {"questions": list(range(1, 60)), "rows": list(range(1, 60))}}, r"makes 3,481 arms"),
        (
            {"base": {}, "arms": None, "grid": {"questions": list(range(1, 60)), "answers_per_question": [1, 3]}},
            r"s\.grid: makes 118 arms, with 2 seeds 236 students; .* 7,080 completions at most, at an unknown price",
        ),
        ({"seeds": 101}, r"s\.arms: makes 2 arms, with 101 seeds 202 students; at most 200 .* 120 completions at most"),
        ({"arms": {"a": {"questionss": 5}}}, r"questionss: is not a setting here; did you mean 'questions'"),
        ({"decision": "simplest_within_margin"}, "margin"),
        (
            {"base": {"sources": ["two-digit-sums"], "answer_filter": {"method": "verified", "match": "tests"}}},
            r"studies\.s\.base\.answer_filter\.match: tests needs tests .* two-digit-sums can have none: map columns",
        ),
    ],
)
def test_a_study_that_cannot_be_run_is_refused_with_the_recipe(
    tmp_path: Path, changes: dict[str, Any], says: str
) -> None:
    study = {name: value for name, value in (STUDY | changes).items() if value is not None}
    with pytest.raises(RecipeError, match=says):
        _recipe(tmp_path, study)


def test_a_study_of_too_many_students_is_refused_with_its_price_whatever_declares_them() -> None:
    paid: dict[str, Any] = {"price": {"completion_million": 2.0}, "expected": {"completion_tokens": 500}}
    teachers = [{"name": "dear"} | paid, {"name": "cheap"} | paid | {"price": {"completion_million": 1.0}}]
    recipe: dict[str, Any] = {"teachers": teachers, "answers_per_question": 4}
    arms = {f"a{n}": {"questions": n, "teacher": "dear" if n % 2 else "cheap"} for n in range(1, 101)}
    grid = {"questions": list(range(1, 101)), "teacher": ["dear", "cheap"]}
    says: tuple[tuple[dict[str, Any], str], ...] = (
        (
            {"arms": arms},
            "arms: makes 100 arms, with 3 seeds 300 students; at most 200 are trained for one study. It would ask for "
            "20,200 completions at most, about 15.10 USD for the tokens of dear, cheap's answers. Take fewer arms",
        ),
        (
            {"grid": grid},
            "grid: makes 200 arms, with 3 seeds 600 students; at most 200 are trained for one study. It would ask for "
            "40,400 completions at most, about 30.30 USD for the tokens of dear, cheap's answers. Take fewer values",
        ),
    )
    for declared, text in says:
        [problem] = study_problems(recipe | {"studies": [{"name": "s", **declared}]})
        assert problem.startswith(f"studies.s.{text} or seeds")
        assert study_problems(recipe | {"studies": [{"name": "s", **declared, "seeds": 1}]}) == []


def test_a_limit_of_money_in_several_currencies_is_refused() -> None:
    prices = {"worked": {"currency": "EUR"}, "direct": {"accelerator_hour": 2}}
    teachers = [{"name": name, "price": price} for name, price in prices.items()]
    study = {"name": "s", "price_limit": 5, "metric": "mean", "arms": {"a": {"teacher": "worked"}, "b": {}}}
    assert study_problems({"studies": [study], "teachers": teachers}) == []
    study["arms"] = {"a": {"teacher": "direct"}, "b": {}}  # the second has the recipe's first teacher
    [problem] = study_problems({"studies": [study], "teachers": teachers})
    assert problem.startswith("studies.s.price_limit: the prices of its teachers are in several currencies (direct in ")


def test_a_study_that_names_a_retired_source_says_study_arm_field_value_and_remedy(tmp_path: Path, lake: Lake) -> None:
    document = yaml.safe_load((SHIPPED / "quickstart" / "recipe.yaml").read_text())
    retired = document["sources"].pop(1)
    document |= {
        "catalogue": [retired],
        "release": None,
        "studies": [STUDY | {"arms": {"a": {"sources": ["shop-sums"]}}}],
    }
    path = tmp_path / "recipe.yaml"
    path.write_text(yaml.safe_dump(document, sort_keys=False))
    with pytest.raises(RecipeError) as error:
        load_recipe(str(path), {"OPENTHOUGHTS_DATA": str(tmp_path)})
    assert (
        "studies.s.arms.a.sources: 'shop-sums' is only in the catalogue; name another of two-digit-sums, "
        "reversed-words, letter-counts, or add it to sources (again, if it was retired)" in str(error.value)
    )

    # A ranking from before a source was retired still has it.
    recipe = _recipe(tmp_path, STUDY | {"base": {"sources": {"best": 1, "domains": ["math"]}}})
    ranked = dict.fromkeys(SOURCE_RANKING.columns) | {"source": "gone", "domain": "math", "rank": 1}
    ranked |= {"items": 1, "cells": 1, "complete": True}
    lake.replace(SOURCE_RANKING, pl.DataFrame([ranked], schema=SOURCE_RANKING.schema))
    with pytest.raises(StudyError, match=r"studies\.s\.a\.sources: .*'gone'.*materialize source_ranking again"):
        arm_named(recipe, lake, "s.a")


def test_best_sources_that_chance_or_one_seed_chose_are_said_and_stop_nothing(tmp_path: Path, lake: Lake) -> None:
    recipe = _recipe(tmp_path, STUDY | {"base": {"sources": {"best": 1, "domains": ["math"]}}})
    never = dict.fromkeys(SOURCE_RANKING.columns) | {"items": 1, "cells": 1, "complete": True, "domain": "math"}

    def findings(**first: Any) -> list[str]:
        rows = [
            never | {"source": "two-digit-sums", "rank": 1, "score": 0.5} | first,
            never | {"source": "shop-sums", "rank": 2, "score": 0.4},
        ]
        lake.replace(SOURCE_RANKING, pl.DataFrame(rows, schema=SOURCE_RANKING.schema))
        assert list(arm_named(recipe, lake, "s.a").sources) == ["two-digit-sums"]
        return doubts_about_best(lake, recipe)

    places = "studies.s.a takes the best 1 of math: two-digit-sums (place 1) is{} told apart from shop-sums (place 2), "
    doubts = findings(significant=False, p_value=0.4, seeds=3)
    assert doubts == [f"{places.format(' not')}p = 0.4", f"{places.format(' not')}p = 0.4".replace("s.a", "s.b", 1)]
    found = best_sources_are_told_apart(Partition(recipe, lake, {}, {}))
    assert not found.passed and found.says == "; ".join(doubts)
    assert release_sources_are_told_apart(Partition(recipe, lake, {"teacher": "worked"}, {})).passed  # it names its own
    over = "p = 0.001 over items only: another training seed may reverse it"
    assert findings(significant=True, p_value=0.001, seeds=1)[0] == places.format("") + over
    assert findings(significant=True, p_value=0.001, seeds=3) == []
    assert best_sources_are_told_apart(Partition(recipe, lake, {}, {})).passed


def test_the_shipped_studies_of_openthoughts3_have_arms_and_the_papers_numbers_beside_them(
    tmp_path: Path, lake: Lake
) -> None:
    recipe = load_recipe("openthoughts3", {})
    for study in recipe.studies:
        arms = list(arms_of(recipe, lake, study))
        assert len(arms) > 1
        assert study.reported is None or set(study.reported.scores) & {arm.name for arm in arms}
    reported = {study.name: study.reported.scores for study in recipe.studies if study.reported}
    assert reported["mixing-code"] == {"top-1": 39.9, "top-2": 41.3, "top-4": 38.6, "top-8": 37.0, "top-16": 36.4}
    [mixing] = [study for study in recipe.studies if study.name == "mixing-code"]
    silent = mixing.model_copy(update={"reported": None})
    assert study_version(recipe, silent) == study_version(recipe, mixing)  # what others found changes nothing here

    # With the sources and teachers that they name, the other studies load as well.
    folder = tmp_path / "copy"
    shutil.copytree(SHIPPED / "openthoughts3", folder)
    document = yaml.safe_load((folder / "recipe.yaml").read_text())
    document["teachers"].append({"include": "teachers.yaml"})
    document["sources"] += ["numinamath-1-5", "mathpile", "kodcode", "codefeedback"]
    document["studies"].append({"include": "studies_more.yaml"})
    (folder / "recipe.yaml").write_text(yaml.safe_dump(document, sort_keys=False))
    whole = load_recipe(str(folder), {})
    assert len(whole.teachers) == 6 and len(whole.studies) == len(recipe.studies) + 4
    assert all(len(list(arms_of(whole, lake, study))) > 1 for study in whole.studies)


def test_a_held_out_benchmark_decides_no_study(tmp_path: Path) -> None:
    document = yaml.safe_load((SHIPPED / "quickstart" / "recipe.yaml").read_text())
    document["evaluation"]["benchmarks"][0]["role"] = "held_out"
    document["studies"] = [STUDY | {"metric": "two-digit-sums-test"}]
    path = tmp_path / "recipe.yaml"
    path.write_text(yaml.safe_dump(document, sort_keys=False))
    with pytest.raises(RecipeError, match="two-digit-sums-test has role held_out"):
        load_recipe(str(path), {"OPENTHOUGHTS_DATA": str(tmp_path)})


def test_a_grid_makes_an_arm_of_every_combination(tmp_path: Path, lake: Lake) -> None:
    grid = {"questions": [60, 15], "answers_per_question": [1, 4]}
    recipe = _recipe(tmp_path, {k: v for k, v in STUDY.items() if k != "arms"} | {"grid": grid})
    arms = {arm.name: arm for arm in arms_of(recipe, lake, recipe.studies[0])}
    assert list(arms) == [f"questions-{q}_answers-per-question-{k}" for q in (60, 15) for k in (1, 4)]
    assert {(arm.questions, arm.samples, arm.rows) for arm in arms.values()} == {
        (q, k, 60) for q in (60, 15) for k in (1, 4)
    }


def test_an_arm_overrides_the_student_and_the_teachers_sampling(tmp_path: Path, lake: Lake) -> None:
    arms = {
        "a": {"epochs": 2, "sampling": {"temperature": 1.5}},
        "b": {"student": {"training": {"learning_rate": 0.1}}},
    }
    recipe = _recipe(tmp_path, STUDY | {"arms": arms})
    first, second = arms_of(recipe, lake, recipe.studies[0])
    assert (first.student.settings().epochs, first.teacher.sampling.temperature) == (2, 1.5)
    assert first.teacher.sampling.max_tokens == recipe.teachers[0].sampling.max_tokens
    assert second.student.settings().learning_rate == 0.1
    assert second.student.settings().epochs == recipe.student.settings().epochs


def test_an_arm_may_be_bound_by_steps_tokens_or_epochs_whatever_bounds_the_recipes_student(
    tmp_path: Path, lake: Lake
) -> None:
    bounds = [{"student": {"training": {"steps": 7}}}, {"student": {"training": {"tokens": 900}}}, {"epochs": 2}]
    recipe = _recipe(tmp_path, STUDY | {"base": {"rows": 10}, "arms": dict(zip("abc", bounds, strict=True))})
    settings = [arm.student.settings() for arm in arms_of(recipe, lake, recipe.studies[0])]
    assert [(each.steps, each.tokens, each.epochs) for each in settings] == [
        (7, None, None),
        (None, 900, None),
        (None, None, 2),
    ]


def test_students_are_keyed_by_study_arm_and_seed(tmp_path: Path) -> None:
    assert student_keys(_recipe(tmp_path, STUDY)) == ["s.a.0", "s.a.1", "s.b.0", "s.b.1"]


def test_a_changed_question_is_another_version_and_a_price_is_not(tmp_path: Path) -> None:
    recipe = _recipe(tmp_path, STUDY)
    version = study_version(recipe, recipe.studies[0])
    other = _recipe(tmp_path, STUDY | {"seeds": 3})
    assert study_version(other, other.studies[0]) != version
    priced = recipe.model_copy(
        update={"student": recipe.student.model_copy(update={"max_in_flight": 3}), "description": "other words"}
    )
    assert study_version(priced, priced.studies[0]) == version


def _with_questions(lake: Lake, source: str, count: int) -> None:
    texts = [f"{source} {n}?" for n in range(count)]
    rows = pl.DataFrame(
        {
            "source": source,
            "question_id": [text_hash(text) for text in texts],
            "domain": "math",
            "question": texts,
            "reference_answer": None,
            "licence": "MIT",
            "origin": "{}",
            "metadata": "{}",
            "scores": "{}",
        }
    )
    lake.replace(DEDUPED_QUESTIONS, rows, source=source)


def _never(*_: Any) -> pl.DataFrame:
    raise AssertionError("nothing is curated anew")


def test_a_larger_design_begins_with_the_questions_of_a_smaller(tmp_path: Path, lake: Lake) -> None:
    _with_questions(lake, "two-digit-sums", 100)
    recipe = _recipe(tmp_path, STUDY)
    large, small = (arm_questions(lake, recipe, arm, _never) for arm in arms_of(recipe, lake, recipe.studies[0]))
    assert (large.height, small.height) == (60, 15)
    assert small.equals(large.head(15))


def test_shares_of_sources_are_kept_to_the_question(tmp_path: Path, lake: Lake) -> None:
    base = {"sources": ["two-digit-sums", "shop-sums"], "shares": {"two-digit-sums": 2 / 3, "shop-sums": 1 / 3}}
    recipe = _recipe(tmp_path, STUDY | {"base": base, "arms": {"a": {"questions": 10}, "b": {"questions": 11}}})
    first, second = arms_of(recipe, lake, recipe.studies[0])
    assert questions_by_source(first) == {"two-digit-sums": 7, "shop-sums": 3}
    assert sum(count or 0 for count in questions_by_source(second).values()) == 11


def test_a_source_with_too_few_questions_is_an_error_with_its_number(tmp_path: Path, lake: Lake) -> None:
    _with_questions(lake, "two-digit-sums", 20)
    recipe = _recipe(tmp_path, STUDY)
    with pytest.raises(StudyError, match=r"studies\.s\.a\.questions: 60 of source 'two-digit-sums', which has 20"):
        arm_questions(lake, recipe, arm_named(recipe, lake, "s.a"), _never)
    with pytest.raises(StudyError, match=r"no arm 'c'; there are a, b"):
        arm_named(recipe, lake, "s.c")
