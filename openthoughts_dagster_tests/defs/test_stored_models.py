"""Models in an object store: made once for all pods, checked where they are, and put there by hand."""

import json
import threading
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from click.testing import CliRunner

from openthoughts_dagster.cli import main
from openthoughts_dagster.defs.assets import quickstart_models
from openthoughts_dagster.defs.catalogue import entry_of
from openthoughts_dagster.defs.check_rules import Partition, checkpoint_is_whole, tiny_models_are_able
from openthoughts_dagster.defs.resources import ModelsResource
from openthoughts_dagster.defs.settings import Settings
from openthoughts_dagster.generation.model import locate
from openthoughts_dagster.lake import STUDENT_CHECKPOINTS, Lake
from openthoughts_dagster.quickstart import tiny_models
from openthoughts_dagster.recipe import ModelReference, Recipe, load_recipe
from openthoughts_dagster.storage import Folders, hold_file
from openthoughts_dagster_tests.object_store import KEYS, SECRET, ObjectStore

ONE_STEP = {name: tiny_models.Course(steps=1, learning_rate=1e-3, batch=2) for name in tiny_models.COURSES}


@pytest.fixture
def recipe(store: ObjectStore) -> Recipe:
    return load_recipe("quickstart", {"OPENTHOUGHTS_FILES": "s3://files/all"})


def _made_in(pod: Path, recipe: Recipe) -> dg.ExecuteInProcessResult:
    settings = Settings.from_environment({"OPENTHOUGHTS_DATA": str(pod), "OPENTHOUGHTS_FILES": "s3://files/all"})
    models = ModelsResource(recipe_folder=str(recipe.folder), data=str(pod), files="s3://files/all")
    return dg.materialize([entry_of("quickstart_models").build(recipe, settings)], resources={"models": models})


def test_tiny_models_made_in_one_pod_are_kept_in_the_next_and_are_models_everywhere(
    recipe: Recipe, store: ObjectStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tiny_models.build_tiny_models, "__defaults__", (0, ONE_STEP, 1))
    assert not tiny_models_are_able(Partition(recipe, Lake(tmp_path), {}, {})).passed
    first = _made_in(tmp_path / "first", recipe)
    monkeypatch.setattr(tiny_models, "_build", lambda *_: pytest.fail("it was trained again"))
    again = _made_in(tmp_path / "second", recipe)
    versions = [
        (result.get_asset_materialization_events()[0].materialization.tags or {})["dagster/data_version"]
        for result in (first, again)
    ]
    assert versions[0] == versions[1]
    says = tiny_models_are_able(Partition(recipe, Lake(tmp_path), {}, {})).says
    assert says.startswith("right on held-out problems: student")
    model = locate(recipe.student, recipe.folder, Folders(tmp_path / "third"))
    assert Path(model.address).is_relative_to(tmp_path / "third") and model.tokenizer().chat_template


def test_of_two_runs_that_make_tiny_models_the_second_waits_and_keeps_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    at_the_lock, trained = threading.Event(), list[str]()
    recipe = load_recipe("quickstart", {"OPENTHOUGHTS_DATA": str(tmp_path)})
    settings = Settings.from_environment({"OPENTHOUGHTS_DATA": str(tmp_path)})
    models = ModelsResource(recipe_folder=str(recipe.folder), data=str(tmp_path))
    asset = entry_of("quickstart_models").build(recipe, settings)
    second = threading.Thread(target=dg.materialize, args=([asset],), kwargs={"resources": {"models": models}})

    def come_to_the_lock(*given: Any) -> AbstractContextManager[None]:
        at_the_lock.set()
        return hold_file(*given)

    def build(folder: Path, name: str, *course: Any) -> tiny_models.TinyModel:
        if not trained:
            monkeypatch.setattr(quickstart_models, "hold_file", come_to_the_lock)
            second.start()
            assert at_the_lock.wait(60), "the second run never came to the lock"
        trained.append(name)
        (folder / name).mkdir()
        made: dict[str, Any] = {
            "parameters": 1,
            "steps": 1,
            "seconds": 1.0,
            "accuracy": 1.0,
            "accuracy_by_family": {},
            "losses": [],
        }
        (folder / name / "training.json").write_text(json.dumps({"fingerprint": course[3]} | made))
        return tiny_models.TinyModel(name, folder / name, **made)

    monkeypatch.setattr(tiny_models, "_build", build)
    assert dg.materialize([asset], resources={"models": models}).success
    second.join(60)
    assert trained == list(tiny_models.COURSES) and not second.is_alive()


def test_a_student_in_the_store_that_lacks_a_file_is_found_out(
    recipe: Recipe, store: ObjectStore, lake: Lake, tmp_path: Path
) -> None:
    import polars as pl

    (tmp_path / "half").mkdir()
    (tmp_path / "half" / "config.json").write_text("{}")
    Folders(tmp_path).put(tmp_path / "half", "s3://files/half")
    row = dict.fromkeys(STUDENT_CHECKPOINTS.columns) | {"source": "a", "teacher": "t", "path": "s3://files/half"}
    numbers = ("rows", "dropped_rows", "steps", "train_tokens")
    row |= {"fingerprint": "f", "losses": "[]", "seconds": 1.0, "final_loss": 1.0} | dict.fromkeys(numbers, 1)
    lake.replace(STUDENT_CHECKPOINTS, pl.DataFrame([row], schema=STUDENT_CHECKPOINTS.schema), source="a", teacher="t")
    found = checkpoint_is_whole(Partition(recipe, lake, {"source": "a", "teacher": "t"}, {}))
    assert not found.passed and found.says == "s3://files/half lacks tokenizer.json, *.safetensors"


@pytest.fixture
def deployment(store: ObjectStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "OPENTHOUGHTS_RECIPE": "quickstart",
        "OPENTHOUGHTS_DATA": str(tmp_path / "data"),
        "OPENTHOUGHTS_LAKE": "s3://lake/tables",
        "OPENTHOUGHTS_FILES": "s3://files/all",
        "DAGSTER_HOME": str(tmp_path),
    }.items():
        monkeypatch.setenv(name, value)


@pytest.mark.usefixtures("deployment")
def test_a_folder_put_by_hand_is_a_model_for_recipes_and_another_does_not_replace_it(
    store: ObjectStore, untrained_model: Path, tmp_path: Path
) -> None:
    put = ["files", "put", str(untrained_model), "s3://files/mine"]
    done = CliRunner().invoke(main, put)
    assert done.exit_code == 0 and "s3://files/mine is complete" in done.output, done.output
    here, there = (
        locate(ModelReference(name="m", model=model), Path(), Folders(tmp_path))
        for model in (str(untrained_model), "s3://files/mine")
    )
    assert here.identity.partition == there.identity.partition
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "config.json").write_text("{}")
    refused = CliRunner().invoke(main, ["files", "put", str(tmp_path / "other"), "s3://files/mine"])
    assert refused.exit_code == 1 and "has other files, which stay" in refused.output
    assert CliRunner().invoke(main, put).exit_code == 0


@pytest.mark.usefixtures("deployment")
def test_doctor_tries_out_the_store_and_says_what_is_wrong_without_keys(store: ObjectStore) -> None:
    assert "ok      files: s3://files/all: can be read and written" in CliRunner().invoke(main, ["doctor"]).output
    assert store.keys("files") == []
    store.overwrites = True
    assert "PROBLEM files: s3://files/all: the store ignores conditional" in CliRunner().invoke(main, ["doctor"]).output
    assert store.keys("files") == []
    store.fault = lambda method, path: "403 Forbidden"
    says = CliRunner().invoke(main, ["doctor"]).output
    assert "PROBLEM files: s3://files/all: could not be used: PermissionError" in says
    assert "PROBLEM lake: s3://lake/tables" in says and "credentials" in says
    assert not any(value in says for value in (SECRET, KEYS["AWS_ACCESS_KEY_ID"]))


def test_the_command_line_refuses_an_address_with_keys_in_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENTHOUGHTS_FILES", "s3://user:hidden@bucket/files")
    done = CliRunner().invoke(main, ["doctor"])
    assert done.exit_code == 1 and "OPENTHOUGHTS_FILES has credentials" in done.output and "hidden" not in done.output
