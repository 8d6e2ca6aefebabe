"""The student of the whole release: its settings, its rows, and one that is really trained and scored."""

from pathlib import Path

import dagster as dg
import polars as pl
import pytest
import yaml

from openthoughts_dagster.defs.build import build_definitions
from openthoughts_dagster.defs.resources import engine_pool
from openthoughts_dagster.defs.settings import Settings
from openthoughts_dagster.lake import RELEASE_SCORES, RELEASE_STUDENTS, TRAINING_SETS
from openthoughts_dagster.recipe import load_recipe
from openthoughts_dagster.recipe.presets import PRESETS
from openthoughts_dagster.release import ReleaseError
from openthoughts_dagster.release.student import rows_of_release, scan_training_rows, student_of_release
from openthoughts_dagster_tests.release.published import publish
from openthoughts_dagster_tests.release.sums import TEACHER, small_lake, small_recipe


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


def test_its_rows_are_those_of_the_versions_files_in_their_order(tmp_path: Path) -> None:
    lake, recipe = small_lake(tmp_path / "lake", count=6), small_recipe(tmp_path / "recipe", student={"rows": 7})
    made = publish(lake, recipe, tmp_path / "one")
    names = rows_of_release(lake, recipe, TEACHER)
    texts = scan_training_rows(Path(made.path), names.height).collect()
    assert names.height == texts.height == 7
    first = texts.row(0, named=True)
    assert first["question"].startswith("What is ") and first["text"].startswith("<think>\nI add ")
    whole = small_recipe(tmp_path / "recipe")
    assert rows_of_release(lake, whole, TEACHER).height == 24
    assert rows_of_release(lake, whole, TEACHER).head(7).equals(names)
    (tmp_path / "empty").mkdir()
    with pytest.raises(ReleaseError, match="has no data/train"):
        scan_training_rows(tmp_path / "empty", 1)


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
