"""What `openthoughts doctor` finds: each thing that is wrong, while it goes on to the next."""

import shutil
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import dagster as dg
import polars as pl
import pytest
from dagster._core.definitions.run_request import InstigatorType
from dagster._core.remote_origin import GrpcServerCodeLocationOrigin, RemoteRepositoryOrigin
from dagster._core.scheduler.instigation import (
    InstigatorState,
    InstigatorStatus,
    SensorInstigatorData,
    TickData,
    TickStatus,
)
from dagster._daemon.types import DaemonHeartbeat
from dagster._utils.error import SerializableErrorInfo

from openthoughts_dagster.defs.recipe_uses import announce_recipe
from openthoughts_dagster.defs.settings import Settings
from openthoughts_dagster.lake import (
    COMPLETIONS,
    DEDUPED_QUESTIONS,
    LAKE_RECIPES,
    SOURCE_READINGS,
    Lake,
    record_recipe_use,
)
from openthoughts_dagster_tests.answers.rows import completion_rows
from openthoughts_dagster_tests.cli.conftest import change_teacher, run
from openthoughts_dagster_tests.cli.damage import Harm, cut_off, data_file, flip_bytes
from openthoughts_dagster_tests.generation.faulty_server import refusal, scripted, serving_in_thread

KEY = "sk-canary-0123456789"


@pytest.mark.parametrize(("harm", "arguments"), [(cut_off, []), (flip_bytes, ["--read-all"])])
def test_a_damaged_table_is_a_problem_that_names_the_file_and_the_other_checks_go_on(
    folder: Path, harm: Harm, arguments: list[str]
) -> None:
    file = data_file(Lake(folder / "lake"), DEDUPED_QUESTIONS)
    harm(file)
    done = run("doctor", *arguments)
    assert done.exit_code == 1 and isinstance(done.exception, SystemExit)
    [line] = [line for line in done.output.splitlines() if line.startswith("PROBLEM table")]
    assert "PROBLEM table deduped_questions:" in line and str(file) in line and "Restore the file from a backup" in line
    assert "ok      dagster" in done.output and "student student" in done.output


@pytest.mark.parametrize("harm", [cut_off, flip_bytes])
def test_status_shows_the_other_tables_beside_the_damaged_one(folder: Path, harm: Harm) -> None:
    lake = Lake(folder / "lake")
    lake.append(COMPLETIONS, completion_rows("m@1", ["1"], ["2"], [None]))
    file = data_file(lake, COMPLETIONS)
    harm(file)
    done = run("status")
    assert done.exit_code == 1 and isinstance(done.exception, SystemExit)
    assert f"{file}" in done.output and "Restore the file" in done.output
    assert [line.split()[6] for line in done.output.splitlines() if line.startswith("deduped_questions")] == ["10"]


@pytest.mark.parametrize("harm", [cut_off, flip_bytes])
def test_a_command_that_needs_a_damaged_table_ends_in_one_readable_error(folder: Path, harm: Harm) -> None:
    file = data_file(Lake(folder / "lake"), DEDUPED_QUESTIONS)
    harm(file)
    done = run("plan")
    assert done.exit_code == 1 and isinstance(done.exception, SystemExit)
    [line] = done.output.strip().splitlines()
    assert line.startswith("Error: ") and str(file) in line and "Restore the file from a backup" in line


@pytest.mark.parametrize(
    ("address", "says"),
    [
        ("/proc/lake", "cannot be written"),
        ("{folder}/recipe/recipe.yaml/lake", "is a file, not a folder"),
        ("s3:/bucket/lake", "an address has two slashes, as s3://bucket/lake"),
        ("s4://bucket/lake", "correct OPENTHOUGHTS_LAKE"),
    ],
)
def test_a_lake_that_is_mistyped_or_cannot_be_written_is_a_problem(
    folder: Path, monkeypatch: pytest.MonkeyPatch, address: str, says: str
) -> None:
    monkeypatch.setenv("OPENTHOUGHTS_LAKE", address.format(folder=folder))
    done = run("doctor")
    [line] = [line for line in done.output.splitlines() if line.startswith("PROBLEM lake")]
    assert says in line and "correct OPENTHOUGHTS_LAKE" in line


@pytest.mark.parametrize(("free", "mark"), [(0, "PROBLEM"), (5 * 2**30, "note"), (50 * 2**30, "ok")])
def test_a_full_disk_is_a_problem(folder: Path, monkeypatch: pytest.MonkeyPatch, free: int, mark: str) -> None:
    class Usage(NamedTuple):
        free: int

    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(free))
    [line] = [line for line in run("doctor").output.splitlines() if " data: " in line]
    assert line.startswith(mark) and f"{free / 2**30:.1f} GiB free" in line


def test_an_instance_whose_materializations_the_lake_lacks_is_named(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with dg.DagsterInstance.get() as instance:
        instance.add_dynamic_partitions("source", ["sums"])
        instance.report_runless_asset_event(dg.AssetMaterialization("deduped_questions", partition="sums"))
    assert "says that partitions were made" not in run("doctor").output
    monkeypatch.setenv("OPENTHOUGHTS_LAKE", str(folder / "another"))
    [line] = [line for line in run("doctor").output.splitlines() if "says that partitions were made" in line]
    assert line.startswith("PROBLEM asset deduped_questions: the instance at") and f"{folder}/another" in line
    assert "no rows: sums." in line


def test_a_silent_daemon_a_stopped_sensor_and_an_evaluation_that_fails_are_named(folder: Path) -> None:
    home = GrpcServerCodeLocationOrigin("localhost", 1, location_name="ours")
    now, failed = time.time(), SerializableErrorInfo("LakeError: no\nspace", [], None)
    with dg.DagsterInstance.get() as instance:
        instance.add_daemon_heartbeat(DaemonHeartbeat(now - 7200, "SENSOR", "1", []))
        for name, status in (("source_landing_sensor", "DECLARED_IN_CODE"), ("cheap_assets", "STOPPED")):
            origin = RemoteRepositoryOrigin(home, "__repository__").get_instigator_origin(name)
            state = InstigatorState(origin, InstigatorType.SENSOR, InstigatorStatus(status), SensorInstigatorData())
            instance.add_instigator_state(state)
            tick = TickData(origin.get_id(), name, state.instigator_type, TickStatus.FAILURE, now - 120, error=failed)
            instance.create_tick(tick._replace(selector_id=state.selector_id))
    found = run("doctor").output
    assert "daemon: was heard last 2 h ago: sensors do nothing, and 0 runs wait in the queue" in found
    assert "sensor cheap_assets: was stopped by a person" in found
    assert "PROBLEM sensor source_landing_sensor: its last evaluation, 2 min ago, failed: LakeError: no space" in found


def test_rows_that_were_read_with_other_settings_are_named(folder: Path) -> None:
    row = {"source": "sums", "settings": "others", "definition": "{}", "rows": 10}
    assert "with other settings" not in run("doctor").output
    Lake(folder / "lake").replace(SOURCE_READINGS, pl.DataFrame([row], schema=SOURCE_READINGS.schema), source="sums")
    assert "note    asset raw_sources: rows of sums were read with other settings" in run("doctor").output
    assert "note asset raw_sources: rows of sums were read with other settings" in run("status").output


def test_another_recipe_in_the_lake_is_said_at_start_and_by_doctor(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    settings = Settings.from_environment()
    recipe, lake = settings.load_recipe(), Lake(settings.lake)
    announce_recipe(recipe, settings)
    assert not caplog.records
    assert [use["location"] for use in lake.scan(LAKE_RECIPES).collect().to_dicts()] == [
        str(folder / "recipe" / "recipe.yaml")
    ]
    record_recipe_use(lake, "quickstart", "quickstart", datetime(2026, 11, 1, tzinfo=UTC))
    says = "also used by the recipe quickstart (quickstart), last on 2026-11-01: rankings of served leave its rows out"
    announce_recipe(recipe, settings)
    assert says in caplog.text
    assert f"note    lake: {settings.lake} is {says}" in run("doctor").output


def test_a_start_goes_on_where_the_lake_cannot_be_used(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENTHOUGHTS_LAKE", "/proc/lake")
    settings = Settings.from_environment()
    announce_recipe(settings.load_recipe(), settings)
    monkeypatch.setenv("OPENTHOUGHTS_LAKE", "s4://bucket/lake")
    settings = Settings.from_environment()
    announce_recipe(settings.load_recipe(), settings)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"models": [{"id": "slow"}]}, "ok      server {address}: answers (slow)"),
        ({"models": [{"id": "fast"}]}, "note    server {address}: answers, and does not list slow: it lists fast"),
        ({"models_status": 401}, "PROBLEM server {address}: refuses the key in THE_KEY (slow)"),
        ({"models_status": 404}, "ok      server {address}: answers; it does not list its models (status 404)"),
        ({"models_status": 503}, "PROBLEM server {address}: answers with status 503"),
    ],
)
def test_servers_are_asked_whether_they_answer(
    folder: Path, monkeypatch: pytest.MonkeyPatch, options: dict[str, Any], says: str
) -> None:
    with serving_in_thread(scripted(refusal(500)), **options) as (address, _):
        change_teacher(folder, base_url=address, api_key_env="THE_KEY")
        monkeypatch.setenv("THE_KEY", f"{KEY}\n")  # as files have them
        output = run("doctor").output
    assert says.format(address=address) in output
    assert KEY not in output


def test_a_server_that_is_not_there_is_a_problem_that_names_the_setting(folder: Path) -> None:
    [line] = [line for line in run("doctor").output.splitlines() if "server http://127.0.0.1:9/v1" in line]
    assert line.startswith("PROBLEM") and "does not answer" in line and "correct base_url of slow" in line
