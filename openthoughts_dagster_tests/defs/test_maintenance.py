"""The lake's upkeep: by a schedule, and by the command `openthoughts maintain`."""

import fcntl
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import dagster as dg
import polars as pl
import pytest

from openthoughts_dagster.defs.build import build_definitions
from openthoughts_dagster.defs.maintenance import MAINTENANCE
from openthoughts_dagster.defs.settings import Settings
from openthoughts_dagster.lake import EMBEDDINGS, Lake
from openthoughts_dagster.recipe import Automation, load_recipe
from openthoughts_dagster_tests.cli.conftest import run

FILES = 52


@pytest.fixture
def definitions(tmp_path: Path) -> dg.Definitions:
    settings = Settings("quickstart", tmp_path, str(tmp_path / "lake"))
    return build_definitions(load_recipe("quickstart", settings.variables()), settings)


def _rows(text: str) -> pl.DataFrame:
    return pl.DataFrame([{"encoder": "e", "text": text, "vector": [0.5, 1.0]}], schema=EMBEDDINGS.schema)


def _files(lake: Lake) -> list[Path]:
    return list(Path(lake.address(EMBEDDINGS)).rglob("*.parquet"))


def test_the_job_merges_small_files_and_keeps_the_rows(definitions: dg.Definitions, lake: Lake) -> None:
    for number in range(FILES):
        lake.append(EMBEDDINGS, _rows(str(number)))
    with dg.DagsterInstance.ephemeral() as instance:
        assert definitions.resolve_job_def(MAINTENANCE).execute_in_process(instance=instance).success
    assert lake.scan(EMBEDDINGS).collect().height == FILES
    assert len(_files(lake)) == FILES + 1  # the old ones stay for a week
    with lake.named_damage():
        assert not lake.compact(EMBEDDINGS, encoder="e")


def test_it_runs_weekly_unless_the_recipe_says_otherwise(tmp_path: Path) -> None:
    settings = Settings("quickstart", tmp_path, str(tmp_path / "lake"))
    recipe = load_recipe("quickstart", settings.variables())

    def schedules(automation: Automation) -> list[tuple[str, str]]:
        found = build_definitions(recipe.model_copy(update={"automation": automation}), settings)
        return [
            (str(schedule.cron_schedule), schedule.execution_timezone or "")
            for schedule in found.schedules or []
            if isinstance(schedule, dg.ScheduleDefinition) and schedule.name == MAINTENANCE
        ]

    assert schedules(Automation()) == [("0 5 * * 0", "UTC")]
    assert schedules(Automation(maintenance="0 1 * * *", timezone="Europe/Berlin")) == [("0 1 * * *", "Europe/Berlin")]
    assert schedules(Automation(maintenance=None)) == []


def test_the_command_deletes_files_that_were_replaced_a_week_ago_and_says_what_it_freed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lake: Lake
) -> None:
    monkeypatch.setenv("OPENTHOUGHTS_DATA", str(tmp_path))
    lake.append(EMBEDDINGS, _rows("one"))
    [old] = _files(lake)
    size = old.stat().st_size
    lake.replace(EMBEDDINGS, _rows("two"), encoder="e")
    assert "deleted 0 old files" in run("maintain").output and old.exists()
    _age_removals(lake)
    done = run("maintain")
    assert done.exit_code == 0, done.output
    assert not old.exists() and lake.scan(EMBEDDINGS).collect()["text"].to_list() == ["two"]
    assert f"deleted 1 old files, freed {size / 2**20:,.1f} MiB" in done.output
    [row] = [line.split() for line in done.output.splitlines() if line.startswith("embeddings")]
    assert row == ["embeddings", "0", "1", f"{size / 2**20:.2f}"]


def test_leftovers_of_killed_processes_go_and_those_in_use_stay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENTHOUGHTS_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("TMPDIR", str(tmp_path / "tmp"))
    monkeypatch.setattr("tempfile.tempdir", None)
    (tmp_path / "tmp").mkdir()
    subprocess.run([sys.executable, "-c", _KILLED_CURATION], check=False, env=os.environ)
    [curation] = (tmp_path / "tmp").glob("*")
    data = tmp_path / "data"
    gone = [
        curation,
        data / "rows-of-a-killed-training",
        data / "staging/old",
        data / "cache/models" / f".m.{'0' * 32}",
        data / "step_outputs/run1",
    ]
    kept = [data / "staging/held", data / "staging/new", data / "cache/models/m", data / "step_outputs/run2"]
    kept += [tmp_path / "tmp/of-others"]
    for folder in (*gone, *kept):
        (folder / "below").mkdir(parents=True, exist_ok=True)
        (folder / "below/rows").write_bytes(b"x" * 2**20)
    with (data / "staging/held.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for folder in (*gone, data / "staging/held", tmp_path / "tmp/of-others", data / "cache/models/m"):
            for path in (folder, *folder.rglob("*")):
                os.utime(path, (time.time() - 31 * 86400,) * 2)
        done = run("maintain")
    assert done.exit_code == 0, done.output
    assert [path for path in gone if path.exists()] == [] and all(path.exists() for path in kept)
    assert "deleted 0 old files and 5 leftovers, freed 5.0 MiB" in done.output
    assert "deleted 0 old files and 1 leftovers, freed 1.0 MiB" in run("maintain").output  # the lock is free now


_KILLED_CURATION = """
import os, signal, tempfile
from openthoughts_dagster.storage import TEMPORARY_PREFIX
folder = tempfile.TemporaryDirectory(prefix=TEMPORARY_PREFIX)
os.kill(os.getpid(), signal.SIGKILL)
"""


def _age_removals(lake: Lake) -> None:
    """Make what was replaced so far look as if that had been a month ago."""
    log = sorted((Path(lake.address(EMBEDDINGS)) / "_delta_log").glob("*.json"))
    for file in log:
        actions = [json.loads(line) for line in file.read_text().splitlines()]
        for action in actions:
            if "remove" in action:
                action["remove"]["deletionTimestamp"] -= 30 * 24 * 3600 * 1000
        file.write_text("\n".join(map(json.dumps, actions)))
