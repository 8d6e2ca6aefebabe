"""The student of the whole release: its settings, its rows, and one that is really trained and scored."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import dagster as dg
import polars as pl
import pytest
import yaml

from openthoughts_dagster.answers import publish_training_set, sample_rows, write_training_set
from openthoughts_dagster.defs.assets.release_student import _training_rows
from openthoughts_dagster.defs.build import build_definitions
from openthoughts_dagster.defs.resources import engine_pool
from openthoughts_dagster.defs.settings import Settings
from openthoughts_dagster.generation.model import Model
from openthoughts_dagster.generation.requests import ModelIdentity
from openthoughts_dagster.lake import (
    DEDUPED_QUESTIONS,
    RELEASE_SCORES,
    RELEASE_STUDENTS,
    TEACHER_ANSWERS,
    TRAINING_SETS,
)
from openthoughts_dagster.recipe import load_recipe
from openthoughts_dagster.recipe.presets import PRESETS
from openthoughts_dagster.release import ReleaseError
from openthoughts_dagster.release.student import (
    published_rows,
    rows_of_release,
    sources_of_rows,
    student_of_release,
    write_training_rows,
)
from openthoughts_dagster.storage import Folders
from openthoughts_dagster.training import SourceRows, Students
from openthoughts_dagster.training.sft import student_fingerprint
from openthoughts_dagster_tests.release.published import publish
from openthoughts_dagster_tests.release.sums import SUMS, TEACHER, fill_source, small_lake, small_recipe, sums


def test_its_settings_are_the_recipes_with_those_of_the_release(tmp_path: Path) -> None:
    whole = small_recipe(
        tmp_path / "recipe", student={"preset": "large", "hardware": {"accelerator": "h100", "count": 8}}
    )
    student = student_of_release(whole)
    assert student.settings() == PRESETS["large"] and student.hardware.count == 8
    changed = student_of_release(small_recipe(tmp_path / "recipe", student={"training": {"epochs": 3}}))
    assert changed.settings() == whole.student.settings().model_copy(update={"epochs": 3})
    assert student_of_release(small_recipe(tmp_path / "recipe")) == whole.student
    with pytest.raises(ReleaseError, match=r"release\.student\.training\.epochs"):
        student_of_release(small_recipe(tmp_path / "recipe", student={"training": {"epochs": -1}}))


def test_its_rows_are_those_of_an_equal_cell(tmp_path: Path) -> None:
    lake, recipe = small_lake(tmp_path / "lake", count=6), small_recipe(tmp_path / "recipe", sources=[SUMS])
    fill_source(lake, SUMS, {**sums(1000, 5), "Unfinished?": [("\nstill thinking", ""), (None, "42\n")]})
    publish(lake, recipe, tmp_path / "one")
    answers = lake.scan(TEACHER_ANSWERS, source=SUMS, teacher=TEACHER).collect()
    of_cell = sample_rows(answers, answers.height, recipe.student.seed, repeat=False)
    assert rows_of_release(lake, recipe, TEACHER).equals(of_cell) and of_cell.height == 12
    few = small_recipe(tmp_path / "recipe", sources=[SUMS], student={"rows": 7})
    assert rows_of_release(lake, few, TEACHER).equals(of_cell.head(7))

    publish_training_set(lake, "cell", of_cell)
    write_training_set(lake, "cell", lake.scan(DEDUPED_QUESTIONS), tmp_path / "cell.parquet")
    write_training_rows(lake, of_cell, tmp_path / "release.parquet")
    assert pl.read_parquet(tmp_path / "release.parquet").equals(pl.read_parquet(tmp_path / "cell.parquet"))
    assert sources_of_rows(lake, TEACHER, of_cell) == [SourceRows(SUMS, "Apache-2.0", 12)]


def test_a_student_that_earlier_versions_trained_on_published_texts_is_used(tmp_path: Path) -> None:
    lake, recipe = small_lake(tmp_path / "lake", count=3), small_recipe(tmp_path / "recipe")
    made = publish(lake, recipe, tmp_path / "one")
    names, texts = published_rows(lake, recipe, TEACHER, Path(made.path))
    assert names.height == texts.collect().height == 12
    assert texts.collect()["text"].str.starts_with("<think>\nI add ").all()
    base = Model(recipe.student, "", ModelIdentity("base", "1"))
    students = Students(str(tmp_path / "students"), tmp_path / "scratch", tmp_path / "cache")
    models: Any = SimpleNamespace(
        locate=lambda *_, **__: base, students=students, folders=Folders(tmp_path / "cache"), data=str(tmp_path)
    )
    version, label = {"version": made.version, "path": made.path}, {"teacher": TEACHER, "version": made.version}
    fingerprint = student_fingerprint(student_of_release(recipe), base, texts)
    record = dict.fromkeys(RELEASE_STUDENTS.columns, 0) | label | {"path": "", "losses": "", "fingerprint": fingerprint}
    lake.replace(RELEASE_STUDENTS, pl.DataFrame([record], schema=RELEASE_STUDENTS.schema), teacher=TEACHER)

    with _training_rows(models, lake, recipe, TEACHER, version) as (chosen, rows):  # its folder is gone
        assert chosen.equals(rows_of_release(lake, recipe, TEACHER)) and rows.collect().height == 12
    (tmp_path / "students" / fingerprint).mkdir(parents=True)
    (tmp_path / "students" / fingerprint / "training.json").write_text("{}")
    with _training_rows(models, lake, recipe, TEACHER, version) as (chosen, rows):
        assert chosen.equals(names) and rows.collect().equals(texts.collect())
    assert list(tmp_path.glob("rows-*")) == []


@pytest.mark.faults
@pytest.mark.timeout(180)
def test_a_student_of_the_whole_is_trained_scored_and_on_the_card_of_the_next_push(
    tmp_path: Path, untrained_model: Path
) -> None:
    lake = small_lake(tmp_path / "lake", count=12)
    small_recipe(tmp_path / "recipe", student={"training": {"epochs": 1}})
    path = tmp_path / "recipe" / "recipe.yaml"
    document = yaml.safe_load(path.read_text())
    document["student"]["model"] = str(untrained_model)
    document["evaluation"]["benchmarks"] = document["evaluation"]["benchmarks"][:1]
    document["evaluation"]["benchmarks"][0]["items"] = 4
    document["tiny_models"] = None
    path.write_text(yaml.safe_dump(document, sort_keys=False))
    settings = Settings(str(tmp_path / "recipe"), tmp_path, str(tmp_path / "lake"))
    recipe = load_recipe(settings.recipe, settings.variables())
    definitions = build_definitions(recipe, settings)
    with dg.DagsterInstance.ephemeral() as instance:
        for job in ("release", "release_students"):
            assert definitions.resolve_job_def(job).execute_in_process(partition_key=TEACHER, instance=instance).success
    engine_pool().close()
    engine_pool.cache_clear()
    [student] = lake.scan(RELEASE_STUDENTS).collect().to_dicts()
    scores = lake.scan(RELEASE_SCORES).collect()
    assert student["rows"] == 48 and scores.height == 4
    assert "Apache-2.0" in (Path(student["path"]) / "README.md").read_text()
    assert set(scores["version"]) == {student["version"]} and set(scores["teacher"]) == {TEACHER}
    named = lake.scan(TRAINING_SETS).filter(pl.col("training_set") == f"release.sums.{TEACHER}").collect()
    assert named.height == 48
