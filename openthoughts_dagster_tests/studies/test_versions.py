"""Which students, answers and decisions count for a study as the recipe asks it now."""

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from openthoughts_dagster.defs.check_rules import Partition, arms_are_not_cut_off, arms_can_be_told_apart
from openthoughts_dagster.lake import (
    ARM_SCORES,
    ARM_STUDENTS,
    STUDY_RESULTS,
    STUDY_VERSIONS,
    Lake,
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
)
from openthoughts_dagster.studies import (
    StudyError,
    arm_settings,
    arms_of,
    current_student,
    current_version,
    decision_of,
    freeze_study,
    question_settings,
    require_current_answers,
    require_current_questions,
    study_result,
    versions,
)
from openthoughts_dagster.studies.versions import _older_version
from openthoughts_dagster_tests.studies.scored_study import score_arm, study_recipe


def test_two_runs_that_start_a_study_at_once_record_one_version(tmp_path: Path, lake: Lake) -> None:
    recipe = study_recipe(tmp_path)
    lakes, barrier = [Lake(lake.root) for _ in range(4)], threading.Barrier(4)

    def start(own: Lake) -> str:
        barrier.wait()
        return freeze_study(own, recipe, recipe.studies[0])

    with ThreadPoolExecutor(4) as threads:
        versions = set(threads.map(start, lakes))
    rows = lake.scan(STUDY_VERSIONS, study="s").collect()
    assert len(versions) == 1 and rows["version"].to_list() == list(versions) and rows["number"].to_list() == [1]


def test_what_was_asked_is_frozen_and_a_change_is_another_version(tmp_path: Path, lake: Lake) -> None:
    first = study_recipe(tmp_path)
    versions = [freeze_study(lake, first, first.studies[0]) for _ in range(2)]
    changed = study_recipe(tmp_path, seeds=5)
    versions.append(freeze_study(lake, changed, changed.studies[0]))
    assert versions[0] == versions[1] != versions[2]
    assert lake.scan(STUDY_VERSIONS).sort("number").collect()["number"].to_list() == [1, 2]


def test_of_two_runs_that_freeze_other_versions_at_once_none_is_lost(
    tmp_path: Path, lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, changed = study_recipe(tmp_path), study_recipe(tmp_path, seeds=5)

    def while_another_does(study: Any) -> Any:
        monkeypatch.setattr(versions, "identity_of", identity_of)
        freeze_study(lake, changed, changed.studies[0])  # the first run has read the table and not written yet
        return identity_of(study)

    monkeypatch.setattr(versions, "identity_of", while_another_does)
    version = freeze_study(lake, first, first.studies[0])
    rows = lake.scan(STUDY_VERSIONS).sort("number").collect()
    assert rows["number"].to_list() == [1, 2] and rows["version"][1] == version


def test_a_decision_is_current_until_a_setting_changes_that_decides_its_students(tmp_path: Path, lake: Lake) -> None:
    recipe = study_recipe(tmp_path)
    for arm, right in (("plain", 0.4), ("better", 0.7)):
        score_arm(lake, recipe, arm, right, range(4))
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
    recipe, moved = study_recipe(tmp_path / "one"), study_recipe(tmp_path / "two", files=tmp_path / "shared")
    study, arm = recipe.studies[0], next(arms_of(recipe, lake, recipe.studies[0]))
    assert recipe.teachers[0].model != moved.teachers[0].model
    version = freeze_study(lake, recipe, study)
    record_settings(lake, "arm_answers", arm.key, arm_settings(recipe, arm))
    assert current_version(lake, moved, study) == version
    require_current_answers(lake, moved, next(arms_of(moved, lake, moved.studies[0])))


def test_a_version_of_an_older_program_stays_current_and_its_settings_are_recorded(tmp_path: Path, lake: Lake) -> None:
    recipe, study = study_recipe(tmp_path), study_recipe(tmp_path).studies[0]
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
    recipe = study_recipe(tmp_path)
    study = recipe.studies[0]
    for arm, right in (("plain", 0.4), ("better", 0.7)):
        score_arm(lake, recipe, arm, right, range(4))
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
    recipe = study_recipe(tmp_path)
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
    old = study_recipe(tmp_path)
    for arm, right in (("plain", 0.4), ("better", 0.7)):
        score_arm(lake, old, arm, right, range(4))
    lake.replace(STUDY_RESULTS, study_result(lake, old, old.studies[0]).arms, study="s")
    assert decision_of(lake, old, old.studies[0]).startswith("better is better than plain")
    changed, recorded = study_recipe(tmp_path, seeds=5), {"decision": "better is better", "arms_not_told_apart": 0}
    assert decision_of(lake, changed, changed.studies[0]) == ""
    for rule in (arms_can_be_told_apart, arms_are_not_cut_off):
        assert rule(Partition(old, lake, {"study": "s"}, recorded)).passed
        found = rule(Partition(changed, lake, {"study": "s"}, recorded))
        assert not found.passed and "no result as the recipe asks it now" in found.says
