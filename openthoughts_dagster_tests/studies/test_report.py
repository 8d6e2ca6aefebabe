"""The report of a study, what it says of leaks and costs, and the settings that it suggests."""

import json
from dataclasses import replace
from datetime import UTC, datetime
from html import escape
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import yaml

from openthoughts_dagster.defs.answer_graph import AnswerRequest, check_price
from openthoughts_dagster.defs.assets.arm_answers import money_left
from openthoughts_dagster.defs.check_rules import Partition, arm_is_comparable
from openthoughts_dagster.generation.engine import EngineError
from openthoughts_dagster.generation.estimate import CostEstimate
from openthoughts_dagster.lake import (
    ARM_ANSWERS,
    ARM_SCORES,
    ARM_STUDENTS,
    COMPLETIONS,
    SCORED_QUESTIONS,
    STUDY_RESULTS,
    STUDY_VERSIONS,
    TRAINING_SETS,
    Lake,
    Table,
)
from openthoughts_dagster.recipe import Decontamination, load_recipe
from openthoughts_dagster.studies import (
    adopted_settings,
    arm_answer_set,
    arm_costs,
    arms_of,
    find_arm_leaks,
    freeze_study,
    study_report,
    study_result,
)
from openthoughts_dagster_tests.studies.scored_study import score_arm, study_recipe


def test_the_report_is_one_file_without_a_network_and_escapes_what_people_wrote(tmp_path: Path, lake: Lake) -> None:
    recipe = study_recipe(tmp_path)
    for arm, right in (("plain", 0.4), ("better", 0.7)):
        score_arm(lake, recipe, arm, right, range(4))
    study = recipe.studies[0]
    result = study_result(lake, recipe, study)
    report = study_report(recipe, study, result, lake.scan(STUDY_VERSIONS).collect(), ["Version 0 found: <script>"])

    assert "Is &lt;b&gt;more&lt;/b&gt; better?" in report and "<script>" not in report
    assert "<svg" in report and escape(result.decision) in report and "openthoughts study adopt s" in report
    assert not any(f'{attribute}="http' in report.replace("xmlns", "") for attribute in ("src", "href"))


def _merge(document: Any, change: Any) -> Any:
    """Merge YAML of `study adopt` into a recipe, as a person does: lists of named entries by their names."""
    if isinstance(document, dict) and isinstance(change, dict):
        return document | {name: _merge(document.get(name), value) for name, value in change.items()}
    if isinstance(change, list) and change and isinstance(change[0], dict):
        changes = {entry["name"]: entry for entry in change}
        return [_merge(entry, changes.get(entry["name"], {})) for entry in document]
    return change


def test_the_yaml_of_a_winner_merged_into_the_recipe_is_what_the_arm_was(tmp_path: Path, lake: Lake) -> None:
    arm = {
        "sources": ["two-digit-sums"],
        "questions": 144,
        "answers_per_question": 4,
        "rows": 576,
        "epochs": 3,
        "sampling": {"temperature": 1.5},
        "dedup": {"method": "fuzzy"},
        "answer_filter": {"method": "finished"},
        "student": {"training": {"learning_rate": 0.01}},
    }
    best = {"sources": {"best": 2}, "teacher": "direct", "selection": {"by": "difficulty", "count": 50}}
    recipe = study_recipe(tmp_path, arms={"a": arm, "b": best})
    document = yaml.safe_load((tmp_path / "recipe.yaml").read_text())
    adopted = adopted_settings(recipe, recipe.studies[0], "a")
    (tmp_path / "adopted.yaml").write_text(yaml.safe_dump(_merge(document, yaml.safe_load(adopted))))
    took, wanted = (
        load_recipe(str(tmp_path / "adopted.yaml"), {"OPENTHOUGHTS_DATA": str(tmp_path)}),
        arms_of(recipe, lake, recipe.studies[0]),
    )
    chosen = next(wanted)
    assert took.student.settings() == chosen.student.settings() and took.student.rows == chosen.rows
    assert took.teachers[0].sampling == chosen.teacher.sampling
    assert (took.answers_per_question, took.answer_filter) == (chosen.samples, chosen.keep)
    assert took.domain("math").dedup.method == "fuzzy" and took.domain("math").downsample == {"two-digit-sums": 144}
    assert took.release is not None and took.release.sources == ["two-digit-sums"]

    ranked = adopted_settings(recipe, recipe.studies[0], "b")
    assert ranked.startswith("# teacher direct: launch its cells") and "sources:\n    best: 2" in ranked


def _fill(table: Table, **values: Any) -> pl.DataFrame:
    """A row of a table with empty values for what is not given."""
    empty: dict[Any, Any] = {pl.String: "", pl.Boolean: False, pl.Float64: 0.0}
    filled = {
        name: values.get(name, None if column.nullable else empty.get(column.kind, 0))
        for name, column in table.definition.items()
    }
    return pl.DataFrame([filled | {"created_at": datetime.now(UTC)}], schema=table.schema, strict=False)


def test_questions_that_leak_from_the_deciding_benchmark_are_said_and_fail_the_check(
    tmp_path: Path, lake: Lake
) -> None:
    recipe = study_recipe(tmp_path)
    study = recipe.studies[0]
    asked = json.loads((tmp_path / "benchmarks/two_digit_sums/test.jsonl").read_text().splitlines()[0])["question"]
    texts = [asked, "How many letters has the word tree?"]
    rows = [_fill(SCORED_QUESTIONS, source="sums", question_id=str(n), question=text) for n, text in enumerate(texts)]
    lake.replace(SCORED_QUESTIONS, pl.concat(rows), source="sums")
    for arm, right in (("plain", 0.4), ("better", 0.7)):
        score_arm(lake, recipe, arm, right, range(4))
        for seed, number in ((0, "1"), (1, "0" if arm == "better" else "1")):
            row = _fill(TRAINING_SETS, training_set=f"s.{arm}.{seed}", source="sums", question_id=number)
            lake.replace(TRAINING_SETS, row, training_set=f"s.{arm}.{seed}")
    leaks = find_arm_leaks(lake, recipe, study)
    assert leaks.counts == {"plain": 0, "better": 1}
    assert "1 of 2 in better; such as " in leaks.says() and "(two-digit-sums-test)" in leaks.says()

    result = study_result(lake, recipe, study).with_leaks(leaks)
    lake.replace(STUDY_RESULTS, result.arms, study="s")
    found = arm_is_comparable(Partition(recipe, lake, {"study": "s"}, {"contamination": leaks.says()}))
    assert not found.passed and "1 of 2 in better" in found.says and found.numbers["leaked_questions"] == 1
    page = study_report(recipe, study, result, lake.scan(STUDY_VERSIONS).collect(), leaks=leaks)
    assert "Training questions that leak from two-digit-sums-test" in page

    clean = result.with_leaks(replace(leaks, counts={"plain": 0, "better": 0}))
    lake.replace(STUDY_RESULTS, clean.arms, study="s")
    assert arm_is_comparable(Partition(recipe, lake, {"study": "s"}, {"contamination": "none"})).passed
    # A recipe that looks for no leaks is measured by the paper's rule; benchmarks that cannot be read are unknown.
    off = recipe.model_copy(update={"decontamination": Decontamination(ngram=None, similarity=None)})
    assert find_arm_leaks(lake, off, study).counts["better"] == 1
    (tmp_path / "benchmarks/two_digit_sums/test.jsonl").unlink()
    unknown = find_arm_leaks(lake, recipe, study)
    assert unknown.total is None and "It is unknown whether" in unknown.says()
    assert result.with_leaks(unknown).arms["leaked_questions"].null_count() == 2


def test_costs_are_those_of_answers_judges_and_evaluations_and_unknown_prices_stay_unknown(
    tmp_path: Path, lake: Lake
) -> None:
    recipe = study_recipe(tmp_path)
    study, version = recipe.studies[0], freeze_study(lake, recipe, recipe.studies[0])
    made = {"completion_tokens": 10, "engine_seconds": 2.0, "currency": "USD", "sample_index": 0}
    judged = {"asset": "arm_answers", "source": "s.plain"}
    ledger = [
        _fill(COMPLETIONS, model="t", key="k0", completion_id="c0", asked_as="worked", cost=0.5, **made),
        _fill(COMPLETIONS, model="t", key="k1", completion_id="c1", asked_as="worked", **made),  # without a price
        _fill(COMPLETIONS, model="j", completion_id="c2", asked_as="judge", cost=0.25, **made, **judged),
        *(_fill(COMPLETIONS, model="m", completion_id=f"e{n}", asked_as="student", **made) for n in range(2)),
    ]
    lake.append(COMPLETIONS, pl.concat(ledger))
    for arm, keys in (("plain", ["k0", "k1"]), ("better", ["k0"])):
        names = {"model": "t", "sample_index": 0}
        rows = pl.concat([_fill(ARM_ANSWERS, arm=f"s.{arm}", key=key, question_id=key, **names) for key in keys])
        lake.replace(ARM_ANSWERS, rows, arm=f"s.{arm}")
        labels = {"arm_student": f"s.{arm}.0", "study": "s", "version": version, "arm_name": arm}
        samples = json.dumps([{"completion_id": "e0", "extracted": "", "score": 1.0}])
        item = _fill(ARM_SCORES, **labels, model="m", samples=samples)
        lake.replace(ARM_SCORES, item, arm_student=f"s.{arm}.0")
        student = _fill(ARM_STUDENTS, **labels, fingerprint="f", seconds=9.0)
        lake.replace(ARM_STUDENTS, student, arm_student=f"s.{arm}.0")
    plain, better, both = arm_costs(lake, recipe, study, version).to_dicts()
    assert (plain["completions"], plain["cost"]) == (2, "0.50 USD, 1 completions without a price")
    assert (plain["judge_completions"], plain["judge_cost"]) == (1, "0.25 USD")
    assert (better["cost"], better["judge_cost"], better["evaluation_cost"]) == (
        "0.50 USD",
        "nothing asked",
        "no price",
    )
    # Both students are one, with one answer to the benchmark: it is counted once over all arms.
    assert (both["evaluation_completions"], both["students"], both["training_seconds"]) == (1, 1, 9.0)
    assert both["training_cost"] == "no price" and both["evaluation_completion_tokens"] == 10


def test_a_study_stops_before_its_answers_cost_more_than_its_limit(tmp_path: Path, lake: Lake) -> None:
    recipe = study_recipe(tmp_path, price_limit=10.0)
    arm = next(arms_of(recipe, lake, recipe.studies[0]))
    asked = {"asset": "arm_answers", "model": "t", "currency": "USD"}
    spent = (("c0", "s.better", 4.0), ("c1", "other.arm", 100.0))
    lake.append(
        COMPLETIONS,
        pl.concat(_fill(COMPLETIONS, completion_id=c, source=arm, cost=cost, **asked) for c, arm, cost in spent),
    )
    left = money_left(lake, arm)
    assert left == 6.0
    request = AnswerRequest(arm.teacher, arm_answer_set(lake, arm), arm.keep, 0.0, price_limit=left)
    estimate = CostEstimate(100, 0, 0.0, 0.0, None, 6.0, "USD", "")
    check_price(request, estimate)
    with pytest.raises(EngineError, match=r"s\.plain: the missing answers cost about 7\.00 USD, and 6\.00 are left"):
        check_price(request, replace(estimate, cost=7.0))
    with pytest.raises(EngineError, match="its price is unknown and it has a limit of 6"):
        check_price(request, replace(estimate, cost=None))
    check_price(request, replace(estimate, completions=0, cost=None))
