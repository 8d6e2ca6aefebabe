"""Runs in this process: Ctrl-C stops the command, and folders that cannot be written are named."""

from pathlib import Path

import dagster as dg
import pytest

from openthoughts_dagster.cli.local_runs import alone_in, run_here, stopped_by_a_person
from openthoughts_dagster.defs.progress import progress_logger


@dg.asset
def interrupted() -> None:
    """Ctrl-C arrives while this runs."""
    raise KeyboardInterrupt


def test_ctrl_c_ends_the_command_and_not_only_the_run(capsys: pytest.CaptureFixture[str]) -> None:
    job = dg.define_asset_job("refresh", selection="interrupted")
    defs = dg.Definitions(assets=[interrupted], jobs=[job], loggers={"progress": progress_logger})
    with dg.DagsterInstance.ephemeral() as instance:
        with pytest.raises(SystemExit) as ended, stopped_by_a_person():
            run_here(defs, instance, "refresh", None)
        [run] = instance.get_runs()
    assert ended.value.code == 130 and "run the same command again" in capsys.readouterr().err
    assert run.is_failure_or_canceled


def test_a_data_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    data = tmp_path / "file" / "data"
    data.parent.write_text("a file, so that nobody can make a folder in it")
    with pytest.raises(SystemExit, match=r"file.data cannot be written .*OPENTHOUGHTS_DATA"), alone_in(data):
        raise AssertionError("it was entered")
