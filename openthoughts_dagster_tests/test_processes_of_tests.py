"""What the guard of the tests themselves promises: no error in a thread is missed, no process is left behind."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil
import pytest

from openthoughts_dagster_tests.e2e.conftest import HOUSE
from openthoughts_dagster_tests.e2e.servers import wait_for
from openthoughts_dagster_tests.processes import run_beside

_CONFTEST = """
from openthoughts_dagster_tests.processes import ProcessGuard

def pytest_configure(config):
    config.pluginmanager.register(ProcessGuard())
"""


def start(folder: Path, test: str, *options: str) -> "subprocess.Popen[str]":
    """Pytest over one file of tests, with the guard."""
    (folder / "conftest.py").write_text(_CONFTEST)
    (folder / "test_it.py").write_text(test)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *options, str(folder)]
    return subprocess.Popen(
        command,
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(HOUSE)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def outcome(folder: Path, test: str) -> tuple[int, str]:
    """The exit status and the output."""
    process = start(folder, test)
    output, _ = process.communicate(timeout=60)
    return process.returncode, output


def test_an_error_beside_the_test_interrupts_it_and_is_its_error() -> None:
    began = time.monotonic()

    def fails(ended: threading.Event) -> None:
        raise LookupError("no torchrun among the children")

    with pytest.raises(LookupError, match="no torchrun"), run_beside(fails):
        time.sleep(60)
    assert time.monotonic() - began < 50


def test_an_error_beside_the_test_hides_behind_no_other() -> None:
    def fails(ended: threading.Event) -> None:
        ended.wait()
        raise LookupError("nothing was killed")

    with pytest.raises(LookupError, match="nothing was killed"), run_beside(fails):
        raise ValueError("the training ended undisturbed")


def test_a_child_that_is_left_running_fails_its_test_and_no_other(tmp_path: Path) -> None:
    test = """
import subprocess
def test_leaves_one():
    subprocess.Popen(["sleep", "600.125"])
def test_is_well():
    subprocess.run(["true"], check=True)
"""
    status, output = outcome(tmp_path, test)
    assert status == 1, output
    assert "2 passed, 1 error" in output
    assert "left processes behind" in output and "sleep 600.125" in output
    assert not [p for p in psutil.process_iter(["cmdline"]) if p.info["cmdline"] == ["sleep", "600.125"]]


def test_a_zombie_that_nobody_waited_for_fails_its_test(tmp_path: Path) -> None:
    test = """
import os
def test_forgets_it():
    if os.fork() == 0:
        os._exit(0)
"""
    status, output = outcome(tmp_path, test)
    assert status == 1 and "zombie" in output, output


def test_a_fixture_that_leaves_a_process_fails_the_session(tmp_path: Path) -> None:
    test = """
import subprocess, pytest
@pytest.fixture(scope="module")
def server():
    yield subprocess.Popen(["sleep", "600"])
def test_uses_it(server):
    assert server.poll() is None
"""
    status, output = outcome(tmp_path, test)
    assert status == 1 and "fixtures left processes behind" in output, output


@pytest.mark.parametrize("options", [(), pytest.param(("-n", "2"), marks=pytest.mark.faults)])
def test_a_session_that_is_told_to_end_still_ends_its_processes(tmp_path: Path, options: tuple[str, ...]) -> None:
    test = """
import subprocess, time, pytest
from pathlib import Path
@pytest.fixture(scope="session")
def server():
    process = subprocess.Popen(["sleep", "600"], start_new_session=True)
    yield process
    time.sleep(SECONDS)
    process.kill()
    process.wait()
def test_waits(server):
    Path(__file__).with_name("pid").write_text(str(server.pid))
    time.sleep(600)
"""
    seconds = "12" if options else "0"  # pytest-xdist itself waits 10 s for its processes
    process = start(tmp_path, test.replace("SECONDS", seconds), *options)
    pid = tmp_path / "pid"
    wait_for(lambda: pid.exists() and bool(pid.read_text()), 60, "the test")
    process.send_signal(signal.SIGTERM)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 128 + signal.SIGTERM, output
    assert not psutil.pid_exists(int(pid.read_text()))
