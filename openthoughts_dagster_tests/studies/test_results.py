"""What a study finds, from the tables of its students: results, decisions, versions, and the report."""

import json
import re
import shutil
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import yaml

from openthoughts_dagster.defs.answer_graph import AnswerRequest, check_price
from openthoughts_dagster.defs.assets.arm_answers import money_left
from openthoughts_dagster.defs.check_rules import (
    Partition,
    arm_is_comparable,
    arms_are_not_cut_off,
    arms_can_be_told_apart,
)
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
    begin_rows,
    record_settings,
)
from openthoughts_dagster.recipe import (
    Decontamination,
    Dedup,
    DomainQuestions,
    FinishedAnswers,
    Recipe,
    Selection,
    identity_of,
    load_recipe,
)
from openthoughts_dagster.recipe.loading import SHIPPED
from openthoughts_dagster.studies import (
    StudyError,
    adopted_settings,
    arm_answer_set,
    arm_costs,
    arm_settings,
    arms_of,
    current_student,
    current_version,
    decision_of,
    find_arm_leaks,
    freeze_study,
    question_settings,
    require_current_answers,
    require_current_questions,
    study_report,
    study_result,
    versions,
)
from openthoughts_dagster.studies.versions import _older_version

ITEMS = 120
ARMS: dict[str, dict[str, Any]] = {"plain": {"rows": 100}, "better": {"rows": 100, "epochs": 9}}


def _recipe(folder: Path, files: Path | None = None, **changes: Any) -> Recipe:
    study = {"name": "s", "question": "Is <b>more</b> better?", "arms": ARMS, "seeds": 4} | changes
    document = yaml.safe_load((SHIPPED / "quickstart" / "recipe.yaml").read_text()) | {"studies": [study]}
    folder.mkdir(exist_ok=True)
    path = folder / "recipe.yaml"
    path.write_text(yaml.safe_dump(document, sort_keys=False))
    shutil.copytree(SHIPPED / "quickstart" / "benchmarks", folder / "benchmarks", dirs_exist_ok=True)
    return load_recipe(str(path), {"OPENTHOUGHTS_DATA": str(folder), "OPENTHOUGHTS_FILES": str(files or folder)})


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
    assert "epochs: 9" in adopted_settings(recipe, recipe.studies[0], "better")
    assert " points; 4 seeds" in result.decision

    scaled = _recipe(tmp_path, metric="z_mean")
    for arm, right in (("plain", 0.4), ("better", 0.7)):
        _score(lake, scaled, arm, right, range(4))
    assert ", by +1.41 ± " in (decision := study_result(lake, scaled, scaled.studies[0]).decision)
    assert " standard deviations; 4 seeds" in decision


def test_what_others_reported_stands_beside_the_scores_and_not_among_them(tmp_path: Path, lake: Lake) -> None:
    reported = {"by": "arXiv <1>", "what": "points of one student", "scores": {"better": 41.3, "elsewhere": 12.5}}
    recipe = _recipe(tmp_path, reported=reported)
    for arm, right in (("plain", 0.4), ("better", 0.7)):
        _score(lake, recipe, arm, right, range(2))
    study = recipe.studies[0]
    result = study_result(lake, recipe, study)
    assert set(result.arms["arm_name"]) == {"plain", "better"}
    page = study_report(recipe, study, result, lake.scan(STUDY_VERSIONS, study="s").collect())
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
    assert result.decision.endswith("neither 100 seeds nor 100 times the benchmark items would be enough alone.")
    _score(lake, recipe, "better", 0.60, range(4), seed_spread=0.1)
    larger = study_result(lake, recipe, recipe.studies[0])
    assert larger.winner is None and re.search(r"; \d+ seeds would tell them apart", larger.decision)


def test_equal_arms_are_equivalent_within_the_margin_and_the_simplest_is_taken(tmp_path: Path, lake: Lake) -> None:
    recipe = _recipe(tmp_path, margin=0.1, decision="simplest_within_margin")
    _score(lake, recipe, "plain", 0.50, range(4))
    _score(lake, recipe, "better", 0.51, range(4))
    result = study_result(lake, recipe, recipe.studies[0])
    assert result.winner == "plain" and "no worse than better by more than 10.0 points" in result.decision


def test_the_best_arm_is_not_taken_as_decided_for_because_it_comes_first(tmp_path: Path, lake: Lake) -> None:
    recipe = _recipe(tmp_path, margin=0.05, decision="simplest_within_margin", arms=dict(reversed(ARMS.items())))
    _score(lake, recipe, "plain", 0.50, range(4), seed_spread=0.2)
    _score(lake, recipe, "better", 0.70, range(4), seed_spread=0.2)
    rows = lake.scan(ARM_SCORES, arm_student="s.plain.0").collect()
    lake.replace(ARM_SCORES, rows.head(100), arm_student="s.plain.0")
    result = study_result(lake, recipe, recipe.studies[0])
    assert (result.winner, result.unclear) == ("better", ["plain"])
    assert "better has the highest score. It cannot be told apart from plain, and is taken" in result.decision
    assert " 20 of 120 items are not compared, because some students have no score on them: mat" in result.decision


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
    three = _recipe(tmp_path, arms=ARMS | {"third": {"rows": 50}})
    for arm, right in (("plain", 0.4), ("better", 0.7)):
        _score(lake, three, arm, right, range(2))
    partial = study_result(lake, three, three.studies[0])
    assert partial.decision.endswith("Not compared, because they have no scores yet: third.")
    assert set(result.arms["seeds"]) == {2} and result.missing == ["s.better.0", "s.better.3"]
    assert result.decision.endswith(" Only 2 of 4 seeds are scored in every arm.")


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


def test_of_two_runs_that_freeze_other_versions_at_once_none_is_lost(
    tmp_path: Path, lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, changed = _recipe(tmp_path), _recipe(tmp_path, seeds=5)

    def while_another_does(study: Any) -> Any:
        monkeypatch.setattr(versions, "identity_of", identity_of)
        freeze_study(lake, changed, changed.studies[0])  # the first run has read the table and not written yet
        return identity_of(study)

    monkeypatch.setattr(versions, "identity_of", while_another_does)
    version = freeze_study(lake, first, first.studies[0])
    rows = lake.scan(STUDY_VERSIONS).sort("number").collect()
    assert rows["number"].to_list() == [1, 2] and rows["version"][1] == version


def test_a_decision_is_current_until_a_setting_changes_that_decides_its_students(tmp_path: Path, lake: Lake) -> None:
    recipe = _recipe(tmp_path)
    for arm, right in (("plain", 0.4), ("better", 0.7)):
        _score(lake, recipe, arm, right, range(4))
    lake.replace(STUDY_RESULTS, study_result(lake, recipe, recipe.studies[0]).arms, study="s")

    def with_changes(name: str, value: Any) -> Recipe:
        return recipe.model_copy(update={name: value})

    source, evaluation, teacher = recipe.sources[0], recipe.evaluation, recipe.teachers[0]
    exact = evaluation.benchmarks[0].model_copy(update={"match": "exact"})
    fuzzy = recipe.domain("math").model_copy(update={"dedup": Dedup(method="fuzzy")})
    deciding = (
        ("decontamination", Decontamination()),
        ("domains", recipe.domains | {"math": fuzzy}),
        ("answer_filter", FinishedAnswers(method="finished")),
        ("evaluation", evaluation.model_copy(update={"benchmarks": [exact, *evaluation.benchmarks[1:]]})),
        ("sources", [source.model_copy(update={"seed": 9}), *recipe.sources[1:]]),
    )
    free = (
        ("teachers", [*recipe.teachers, teacher.model_copy(update={"name": "another"})]),
        ("evaluation", evaluation.model_copy(update={"confinement": "bubblewrap"})),
        ("domains", recipe.domains | {"unused": DomainQuestions()}),
    )
    known = lake.scan(STUDY_VERSIONS, study="s").collect()
    for since in (known, known.with_columns(version=pl.lit("old"))):  # this program's version, and that of an older one
        lake.replace(STUDY_VERSIONS, since, study="s")
        results = lake.scan(STUDY_RESULTS).collect().with_columns(version=pl.lit(since["version"][0]))
        lake.replace(STUDY_RESULTS, results, study="s")
        for changes, stays in ((deciding, False), (free, True)):
            for name, value in changes:
                changed = with_changes(name, value)
                assert bool(decision_of(lake, changed, changed.studies[0])) is stays, (name, value)


def test_data_that_were_moved_to_another_folder_stay_current(tmp_path: Path, lake: Lake) -> None:
    recipe, moved = _recipe(tmp_path / "one"), _recipe(tmp_path / "two", files=tmp_path / "shared")
    study, arm = recipe.studies[0], next(arms_of(recipe, lake, recipe.studies[0]))
    assert recipe.teachers[0].model != moved.teachers[0].model
    version = freeze_study(lake, recipe, study)
    record_settings(lake, "arm_answers", arm.key, arm_settings(recipe, arm))
    assert current_version(lake, moved, study) == version
    require_current_answers(lake, moved, next(arms_of(moved, lake, moved.studies[0])))


def test_a_version_of_an_older_program_stays_current_and_its_settings_are_recorded(tmp_path: Path, lake: Lake) -> None:
    recipe, study = _recipe(tmp_path), _recipe(tmp_path).studies[0]
    old = _older_version(recipe, study)
    freeze_study(lake, recipe, study)
    row = lake.scan(STUDY_VERSIONS).collect()
    unknown = pl.lit(None, dtype=pl.String)
    lake.replace(STUDY_VERSIONS, row.with_columns(version=pl.lit(old), settings=unknown), study="s")
    stricter = recipe.model_copy(update={"decontamination": Decontamination()})
    assert current_version(lake, recipe, study) == current_version(lake, stricter, study) == old
    assert freeze_study(lake, recipe, study) == old  # nothing is made again
    assert current_version(lake, recipe, study) == old != current_version(lake, stricter, study)
    assert lake.scan(STUDY_VERSIONS).collect()["number"].to_list() == [1]


def test_scores_of_another_student_of_another_version_or_by_other_references_do_not_count(
    tmp_path: Path, lake: Lake
) -> None:
    recipe = _recipe(tmp_path)
    study = recipe.studies[0]
    for arm, right in (("plain", 0.4), ("better", 0.7)):
        _score(lake, recipe, arm, right, range(4))
    student = lake.scan(ARM_STUDENTS, arm_student="s.better.0").collect()
    lake.replace(ARM_STUDENTS, student.with_columns(fingerprint=pl.lit("trained anew")), arm_student="s.better.0")
    scores = lake.scan(ARM_SCORES, arm_student="s.better.0").collect()
    assert study_result(lake, recipe, study).missing == []  # older rows do not say whose they are
    lake.replace(ARM_SCORES, scores.with_columns(fingerprint=pl.lit("before")), arm_student="s.better.0")
    assert study_result(lake, recipe, study).missing == ["s.better.0"]

    name = recipe.evaluation.benchmarks[0].name
    for seed, answer in ((1, "3"), (2, "4")):
        key = f"s.better.{seed}"
        rows = lake.scan(ARM_SCORES, arm_student=key).collect()
        lake.replace(ARM_SCORES, rows.with_columns(benchmark=pl.lit(name), reference=pl.lit(answer)), arm_student=key)
        plain = lake.scan(ARM_SCORES, arm_student=f"s.plain.{seed}").collect()
        lake.replace(ARM_SCORES, plain.with_columns(benchmark=pl.lit(name)), arm_student=f"s.plain.{seed}")
    lake.replace(ARM_SCORES, pl.DataFrame(schema=ARM_SCORES.schema), arm_student="s.better.3")
    with pytest.raises(StudyError, match=rf"120 items of {name} have another reference answer for some"):
        study_result(lake, recipe, study)

    assert current_student(lake, recipe, "s.plain.0")["arm_name"] == "plain"
    other = recipe.model_copy(update={"decontamination": Decontamination()})
    with pytest.raises(StudyError, match=r"s\.plain\.0: its student was trained for another version.*arm_student"):
        current_student(lake, other, "s.plain.0")
    with pytest.raises(StudyError, match=r"s\.plain\.9: it has no student"):
        current_student(lake, recipe, "s.plain.9")


def test_students_learn_from_no_answers_and_answers_are_to_no_questions_of_other_settings(
    tmp_path: Path, lake: Lake
) -> None:
    recipe = _recipe(tmp_path)
    own = {"selection": Selection(by="difficulty", count=3)}
    source, arm = recipe.sources[0].name, next(arms_of(recipe, lake, recipe.studies[0]))
    require_current_answers(lake, recipe, arm)  # nothing is known of answers of older versions
    record_settings(lake, "arm_answers", arm.key, arm_settings(recipe, arm))
    record_settings(lake, "deduped_questions", source, question_settings(recipe, source))
    require_current_answers(lake, recipe, arm)
    require_current_questions(lake, recipe, arm)
    stricter = recipe.model_copy(update={"decontamination": Decontamination(), "seed": 7})
    with pytest.raises(StudyError, match=r"s\.plain: its answers .* other settings of decontamination and seed than"):
        require_current_answers(lake, stricter, arm)
    with pytest.raises(StudyError, match=r"the questions of .* other settings of decontamination than .*deduped_"):
        require_current_questions(lake, stricter, arm)
    curating = replace(arm, settings=arm.settings.model_copy(update=own))
    require_current_questions(lake, stricter, curating)  # it reads the scored questions
    with pytest.raises(StudyError, match="other settings of answer_filter and answers_per_question than"):
        require_current_answers(lake, recipe, replace(arm, samples=9, keep=FinishedAnswers(method="finished")))
    begin_rows(lake, "arm_answers", arm.key, arm_settings(recipe, arm))
    require_current_answers(lake, recipe, arm)  # the same settings: the rows stay what they are
    begin_rows(lake, "arm_answers", arm.key, arm_settings(stricter, arm))
    with pytest.raises(StudyError, match="by a run that did not end"):
        require_current_answers(lake, stricter, arm)


def test_the_decision_of_an_older_version_is_not_that_of_the_present_one(tmp_path: Path, lake: Lake) -> None:
    old = _recipe(tmp_path)
    for arm, right in (("plain", 0.4), ("better", 0.7)):
        _score(lake, old, arm, right, range(4))
    lake.replace(STUDY_RESULTS, study_result(lake, old, old.studies[0]).arms, study="s")
    assert decision_of(lake, old, old.studies[0]).startswith("better is better than plain")
    changed, recorded = _recipe(tmp_path, seeds=5), {"decision": "better is better", "arms_not_told_apart": 0}
    assert decision_of(lake, changed, changed.studies[0]) == ""
    for rule in (arms_can_be_told_apart, arms_are_not_cut_off):
        assert rule(Partition(old, lake, {"study": "s"}, recorded)).passed
        found = rule(Partition(changed, lake, {"study": "s"}, recorded))
        assert not found.passed and "no result as the recipe asks it now" in found.says


def test_the_report_is_one_file_without_a_network_and_escapes_what_people_wrote(tmp_path: Path, lake: Lake) -> None:
    recipe = _recipe(tmp_path)
    for arm, right in (("plain", 0.4), ("better", 0.7)):
        _score(lake, recipe, arm, right, range(4))
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
    recipe = _recipe(tmp_path, arms={"a": arm, "b": best})
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
    recipe = _recipe(tmp_path)
    study = recipe.studies[0]
    asked = json.loads((tmp_path / "benchmarks/two_digit_sums/test.jsonl").read_text().splitlines()[0])["question"]
    texts = [asked, "How many letters has the word tree?"]
    rows = [_fill(SCORED_QUESTIONS, source="sums", question_id=str(n), question=text) for n, text in enumerate(texts)]
    lake.replace(SCORED_QUESTIONS, pl.concat(rows), source="sums")
    for arm, right in (("plain", 0.4), ("better", 0.7)):
        _score(lake, recipe, arm, right, range(4))
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
    recipe = _recipe(tmp_path)
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
    recipe = _recipe(tmp_path, price_limit=10.0)
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
