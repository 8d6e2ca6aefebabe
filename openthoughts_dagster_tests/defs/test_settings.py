"""Where a deployment keeps things follows from few variables, and addresses hold no keys."""

import os
import subprocess
from pathlib import Path

import pytest

from openthoughts_dagster.defs.resources import ModelsResource
from openthoughts_dagster.defs.settings import Settings, dagster_home
from openthoughts_dagster.recipe import load_recipe
from openthoughts_dagster.training import Students


def test_files_are_in_the_data_folder_unless_they_have_an_address_of_their_own(tmp_path: Path) -> None:
    here = Settings.from_environment({"OPENTHOUGHTS_DATA": str(tmp_path)})
    assert here.files == str(tmp_path) and here.cache.is_relative_to(tmp_path)
    there = Settings.from_environment({"OPENTHOUGHTS_DATA": str(tmp_path), "OPENTHOUGHTS_FILES": "s3://bucket/files"})
    assert load_recipe("quickstart", there.variables()).student.model == "s3://bucket/files/tiny_models/student"
    assert load_recipe("quickstart", here.variables()).student.model == f"{tmp_path}/tiny_models/student"

    slashed = Settings.from_environment({"OPENTHOUGHTS_FILES": "s3://bucket/files/", "OPENTHOUGHTS_LAKE": "s3://b/l/"})
    assert (slashed.files, slashed.lake) == ("s3://bucket/files", "s3://b/l")


def test_students_are_made_at_their_address_where_that_is_a_folder_and_uploaded_where_it_is_not(tmp_path: Path) -> None:
    data, mounted = tmp_path / "data", tmp_path / "mounted"
    alone, shared, stored = (
        ModelsResource(recipe_folder="", data=str(data), files=files) for files in ("", str(mounted), "s3://b/files")
    )
    assert alone.students.workplace == data / "students" and not alone.students.in_store
    assert shared.students.workplace == mounted / "students" and not shared.students.in_store
    assert stored.students == Students("s3://b/files/students", data / "students", data / "cache")
    assert stored.students.workplace == data / "students" and stored.students.in_store
    report = mounted / "evaluations" / "results.json"
    assert shared.folders.put_files(report.parent, [report], shared.address("evaluations")) == [str(report)]


@pytest.mark.parametrize("name", ["OPENTHOUGHTS_LAKE", "OPENTHOUGHTS_FILES", "OPENTHOUGHTS_LANDING"])
def test_an_address_with_keys_in_it_is_refused_without_repeating_them(name: str) -> None:
    with pytest.raises(ValueError, match=f"{name} has credentials.*AWS_") as caught:
        Settings.from_environment({name: "s3://AKIAX:hidden@bucket/lake"})
    assert "hidden" not in str(caught.value)


@pytest.mark.parametrize("name", ["OPENTHOUGHTS_TICK_SECONDS", "OPENTHOUGHTS_GRACE_SECONDS"])
@pytest.mark.parametrize("value", ["abc", "-1", "1.5"])
def test_seconds_that_are_no_whole_number_name_their_variable(name: str, value: str) -> None:
    with pytest.raises(ValueError, match=f"{name}: must be a whole number of seconds.*got '{value}'"):
        Settings.from_environment({name: value})


def test_the_instance_is_with_the_data_unless_dagster_home_names_another(tmp_path: Path) -> None:
    settings = Settings.from_environment({"OPENTHOUGHTS_DATA": str(tmp_path)})
    assert dagster_home(settings, {}) == tmp_path / "dagster"
    assert dagster_home(settings, {"DAGSTER_HOME": "/elsewhere"}) == Path("/elsewhere")


def test_make_turns_relative_folders_into_absolute_ones_which_dagster_requires(tmp_path: Path) -> None:
    shown = tmp_path / "shown.mk"
    shown.write_text("shown:\n\t@echo $$OPENTHOUGHTS_DATA $$DAGSTER_HOME\n")
    root = Path(__file__).parents[2]
    command = ["make", "--silent", "--file", "Makefile", "--file", str(shown), "shown", "OPENTHOUGHTS_DATA=my-data"]
    places = subprocess.run(
        command, cwd=root, check=True, capture_output=True, text=True, env={"PATH": os.environ["PATH"]}
    )
    assert places.stdout.split() == [f"{root}/my-data", f"{root}/my-data/dagster"]
