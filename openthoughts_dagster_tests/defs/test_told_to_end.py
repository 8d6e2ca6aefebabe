"""A step whose process is told to end: it commits what is finished, and asks to be started again."""

import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from openthoughts_dagster_tests.defs.step_process import PLAN, QUESTIONS, SHARD, StepProcesses
from openthoughts_dagster_tests.e2e.slow_teacher import SlowTeacher, slow_teacher

pytestmark = pytest.mark.faults

IN_FLIGHT, ANSWERED = 8, 20


@pytest.fixture
def server() -> Iterator[SlowTeacher]:
    with slow_teacher(0.0) as server:
        yield server


def _asked(server: SlowTeacher) -> int:
    return sum(server.asked.values())


def _run(steps: StepProcesses, step: str, attempts: int = 0) -> None:
    process = steps.start(step, attempts)
    try:
        assert process.wait(120) == 0, steps.log(step, attempts).read_text()
    finally:
        process.kill()


def _told_to_end(process: "subprocess.Popen[bytes]", server: SlowTeacher) -> float:
    """Sends SIGTERM when some requests were answered, and gives the seconds until the process ended."""
    try:
        _until(lambda: _asked(server) >= ANSWERED + IN_FLIGHT, process)
        start = time.monotonic()
        process.send_signal(signal.SIGTERM)
        process.wait(60)
        return time.monotonic() - start
    finally:
        process.kill()
        process.wait()


def _until(condition: Callable[[], bool], process: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert process.poll() is None, "it ended before it was told to"
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_what_is_under_way_is_committed_within_the_grace_period_and_never_asked_again(
    tmp_path: Path, server: SlowTeacher
) -> None:
    grace = {"OPENTHOUGHTS_EXECUTOR": "kubernetes", "OPENTHOUGHTS_GRACE_SECONDS": "40"}
    steps = StepProcesses(tmp_path, server.address, **grace)
    steps.questions()
    _run(steps, PLAN)
    server.seconds = 1.0

    seconds = _told_to_end(steps.start(SHARD), server)

    asked = _asked(server)
    assert ANSWERED < asked < QUESTIONS
    assert steps.committed() == asked  # each request is paid for once, and kept
    assert steps.events(SHARD) == ["STEP_START", "STEP_UP_FOR_RETRY"]
    assert seconds < 40

    server.seconds = 0.0
    _run(steps, SHARD, attempts=1)
    assert steps.committed() == QUESTIONS
    assert set(server.asked.values()) == {1}
    assert steps.events(SHARD)[2:] == ["STEP_RESTARTED", "STEP_SUCCESS"]


def test_what_outlasts_the_grace_period_is_left_and_what_ended_is_kept(tmp_path: Path, server: SlowTeacher) -> None:
    grace = {"OPENTHOUGHTS_EXECUTOR": "kubernetes", "OPENTHOUGHTS_GRACE_SECONDS": "12"}
    steps = StepProcesses(tmp_path, server.address, **grace)
    steps.questions()
    _run(steps, PLAN)
    server.seconds = 4.0

    seconds = _told_to_end(steps.start(SHARD), server)

    assert seconds < 12
    assert ANSWERED - IN_FLIGHT < steps.committed() < _asked(server)
    assert steps.events(SHARD) == ["STEP_START", "STEP_UP_FOR_RETRY"]


def test_elsewhere_an_interrupt_ends_the_run_and_keeps_what_ended(tmp_path: Path, server: SlowTeacher) -> None:
    steps = StepProcesses(tmp_path, server.address)
    steps.questions()
    server.seconds = 2.0

    _told_to_end(steps.start_run(), server)

    assert ANSWERED - IN_FLIGHT < steps.committed() < _asked(server)
    assert _asked(server) < QUESTIONS  # no retry went on to pay
