"""The asset reasoning_dataset, run by Dagster on a lake that is filled."""

import os
import re
import subprocess
import sys
from pathlib import Path

import dagster as dg
import polars as pl
import pytest
import yaml

from openthoughts_dagster.defs.build import build_definitions
from openthoughts_dagster.defs.catalogue import entry_of
from openthoughts_dagster.defs.settings import Settings
from openthoughts_dagster.lake import COMPLETIONS, RELEASE_FUNNEL, RELEASE_VERSIONS, Lake
from openthoughts_dagster.recipe import load_recipe
from openthoughts_dagster_tests.hub_double import TOKEN, HubDouble
from openthoughts_dagster_tests.release.sums import TEACHER, small_lake, small_recipe


def test_a_person_makes_a_release_whose_page_shows_its_funnel(tmp_path: Path) -> None:
    lake = small_lake(tmp_path / "lake", count=8)
    small_recipe(tmp_path / "recipe", sizes={"math": 10})
    settings = Settings(str(tmp_path / "recipe"), tmp_path, str(tmp_path / "lake"))
    recipe = load_recipe(settings.recipe, settings.variables())
    definitions = build_definitions(recipe, settings)
    assert entry_of("reasoning_dataset").condition(recipe) is None  # nothing makes a release but a person
    with dg.DagsterInstance.ephemeral() as instance:
        run = definitions.resolve_job_def("release").execute_in_process(partition_key=TEACHER, instance=instance)
    failed = [check.check_name for check in run.get_asset_check_evaluations() if not check.passed]
    assert failed == [] and len(run.get_asset_check_evaluations()) == 8
    [event] = run.get_asset_materialization_events()
    metadata = {name: value.value for name, value in event.materialization.metadata.items()}
    folder = Path(str(metadata["folder"]))
    assert folder == tmp_path / "releases" / "sums" / TEACHER / str(metadata["version"])
    assert (metadata["dagster/row_count"], metadata["questions"], metadata["short"]) == (20, 10, "no")
    assert "base64" in str(metadata["funnel"]) and (folder / "funnel.svg").is_file()
    [version] = lake.scan(RELEASE_VERSIONS).collect().iter_rows(named=True)
    assert (version["path"], version["rows"]) == (str(folder), 20)
    assert lake.scan(RELEASE_FUNNEL).collect()["step"].unique().len() == 6
    card = (folder / "README.md").read_text()
    assert yaml.safe_load(card.split("---\n")[1])["pretty_name"] == "Sums" and "# Sums" in card
    assert str(tmp_path) not in (folder / "release.json").read_text()


def test_gates_stop_a_push_that_is_launched_alone_and_automation_may_not_push(tmp_path: Path, hub: HubDouble) -> None:
    small_lake(tmp_path / "lake", count=8)
    lake = Lake(tmp_path / "lake")
    small_recipe(tmp_path / "recipe", hub={"repository": "team/sums", "token_variable": "TOKEN_OF_TEST"})
    settings = Settings(str(tmp_path / "recipe"), tmp_path, str(tmp_path / "lake"))
    definitions = build_definitions(load_recipe(settings.recipe, settings.variables()), settings)

    with dg.DagsterInstance.ephemeral() as instance:

        def launch(job: str, **tags: str) -> dg.ExecuteInProcessResult:
            named = {f"dagster/{name}": value for name, value in tags.items()}
            return definitions.resolve_job_def(job).execute_in_process(
                partition_key=TEACHER, instance=instance, raise_on_error=False, tags=named
            )

        assert launch("release").success
        for tag in ("schedule_name", "sensor_name", "from_automation_condition"):
            assert "pushed by a person only" in _error(launch("push_release", **{tag: "x"}))
        ledger = lake.scan(COMPLETIONS).collect()
        lake.replace(COMPLETIONS, ledger.with_columns(outcome=pl.lit("unfinished")))
        said = _error(launch("push_release"))
        assert "sums of worked cannot be pushed, 1 gate stops it" in said and "32 of 32 answers are cut off" in said
        assert hub.requests == []
        lake.replace(COMPLETIONS, ledger)
        run = launch("push_release")
        assert run.success, _error(run)
    [event] = run.get_asset_materialization_events()
    there = hub.repositories["team/sums"]
    assert there.tags == {event.materialization.metadata["tag"].value: there.head.oid}
    assert TOKEN not in str(run.all_events)


def _error(run: dg.ExecuteInProcessResult) -> str:
    [event] = [event for event in run.all_events if event.is_step_failure]
    error = event.step_failure_data.error
    while error is not None and error.cause is not None:
        error = error.cause
    return str(error)


@pytest.mark.faults
def test_the_demo_makes_the_release_loads_it_back_and_makes_nothing_new_again(tmp_path: Path) -> None:
    small_lake(tmp_path / "lake", count=8)
    small_recipe(tmp_path / "recipe")
    (tmp_path / "dagster").mkdir()
    places = {
        "OPENTHOUGHTS_DATA": str(tmp_path),
        "OPENTHOUGHTS_RECIPE": str(tmp_path / "recipe"),
        "DAGSTER_HOME": str(tmp_path / "dagster"),
    }
    said = []
    for _ in range(2):
        run = [sys.executable, "-m", "openthoughts_dagster.cli.demo_release"]
        done = subprocess.run(run, env=os.environ | places, capture_output=True, text=True, timeout=170)
        assert done.returncode == 0, done.stdout + done.stderr
        said.append(done.stdout)
    first, second = (re.search(r"sums of worked, version (\w+): (\w+)", text) for text in said)
    assert first is not None and second is not None and first[1] == second[1]
    assert (first[2], second[2]) == ("new", "nothing")
    assert re.search(r"questions +16 +question_id, ", said[0]) and re.search(
        r"default +32 +difficulty, source", said[0]
    )
