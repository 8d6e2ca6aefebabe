"""Processes and threads of tests: none outlives its test, and the error of a thread is the error of its test.

`ProcessGuard` is a pytest plugin that `conftest.py` registers. `run_beside` is what a test uses to do something from
another thread while the test itself waits.
"""

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import Any

import psutil
import pytest

# Processes that a library starts once for the whole interpreter, and ends with it.
_OF_THE_INTERPRETER = ("multiprocessing.resource_tracker", "multiprocessing.forkserver")
# Fixtures of a wider scope whose processes tests start and stop: engines, servers, pods.
_SHARED_BY_TESTS = {"pool", "house", "live", "faulty", "plane", "nodes", "here", "release"}
GRACE_SECONDS = 2.0


@contextmanager
def run_beside(work: Callable[[threading.Event], None]) -> Iterator[None]:
    """Run `work` in a thread while the block runs. Its error interrupts the block, and is raised from it.

    Args:
        work: Is called with an event that is set when the block has ended. It should return soon after that.

    Raises:
        BaseException: What `work` raised, also when the block ended with another error.
        AssertionError: `work` did not return within 30 s after the block.
    """
    assert threading.current_thread() is threading.main_thread(), "only the main thread can be interrupted"
    ended, failed = threading.Event(), list[BaseException]()

    def guarded() -> None:
        try:
            work(ended)
        except BaseException as error:
            failed.append(error)
            if not ended.is_set():
                signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGUSR2)

    def interrupt(*_: object) -> None:
        if not ended.is_set():
            raise failed[0]

    before = signal.signal(signal.SIGUSR2, interrupt)
    thread = threading.Thread(target=guarded, name="beside")
    try:
        thread.start()
        yield
    finally:
        ended.set()
        thread.join(30)
        signal.signal(signal.SIGUSR2, before)
        assert not thread.is_alive(), "the work beside the test did not end within 30 s"
        if failed:
            raise failed[0]


def child_processes() -> set[int]:
    """Process ids of this process's children, zombies included, but for those that belong to the interpreter."""
    found = set()
    for tasks in Path("/proc/self/task").glob("*/children"):
        with suppress(OSError):  # the thread has ended
            found |= {int(pid) for pid in tasks.read_text().split()}
    return {pid for pid in found if not any(name in describe_process(pid) for name in _OF_THE_INTERPRETER)}


def describe_process(pid: int) -> str:
    """The process id, state and command line of a process, for people."""
    try:
        process = psutil.Process(pid)
        state = process.status()
        return f"{pid} {state} {process.name() if state == psutil.STATUS_ZOMBIE else ' '.join(process.cmdline())}"
    except psutil.Error:
        return f"{pid} ended"


def end_processes(pids: set[int]) -> None:
    """Kill these children with all that they started, and wait for them."""
    for pid in pids:
        with suppress(psutil.Error):
            process = psutil.Process(pid)
            for each in [*process.children(recursive=True), process]:
                with suppress(psutil.Error):
                    each.kill()
        with suppress(ChildProcessError):
            os.waitpid(pid, 0)


class ProcessGuard:
    """Fails a test that leaves child processes behind, and the session if its fixtures do.

    Processes of fixtures with a wider scope are looked for at the end of the session. SIGTERM ends the session as an
    interrupt does, so that every fixture still ends its processes.
    """

    def __init__(self) -> None:
        self._shared = set[int]()
        self._distributes = self._told = False

    def pytest_configure(self, config: pytest.Config) -> None:
        self._distributes = bool(getattr(config.option, "numprocesses", None))
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, self._terminated)

    def _terminated(self, number: int, frame: FrameType | None) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # once is enough: fixtures are ending their processes
        if self._distributes:  # the children are the processes of pytest-xdist, whose fixtures own the others
            self._told = True
            for worker in psutil.Process().children():
                with suppress(psutil.Error):
                    worker.send_signal(number)
        pytest.exit("ended by SIGTERM", returncode=128 + number)

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Iterator[None]:
        self._before = child_processes()
        return (yield)

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_teardown(self, item: pytest.Item) -> Iterator[None]:
        yield
        left = self._wait_for_end_of(self._before)
        left -= self._shared
        if left and _SHARED_BY_TESTS & set(getattr(item, "fixturenames", ())):
            self._shared |= left
        elif left:
            told = "; ".join(map(describe_process, sorted(left)))
            end_processes(left)
            pytest.fail(f"the test left processes behind, which it has to end and to wait for: {told}", pytrace=False)

    @pytest.hookimpl(wrapper=True)
    def pytest_fixture_setup(self, fixturedef: pytest.FixtureDef[Any]) -> Iterator[Any]:
        before = child_processes() if fixturedef.scope != "function" else None
        result = yield
        if before is not None:
            self._shared |= child_processes() - before
        return result

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> Iterator[None]:
        if self._told:  # before pytest-xdist ends its processes, their fixtures have time to end theirs
            _wait_for_grandchildren(60)
        yield
        left = self._shared & self._wait_for_end_of(set())
        if left:
            told = "; ".join(map(describe_process, sorted(left)))
            end_processes(left)
            print(f"\nfixtures left processes behind, which they have to end and to wait for: {told}")
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    @staticmethod
    def _wait_for_end_of(known: set[int]) -> set[int]:
        """The children that are not `known` and do not end by themselves within a moment."""
        deadline = time.monotonic() + GRACE_SECONDS
        while (left := child_processes() - known) and time.monotonic() < deadline:
            if all(" zombie " in f"{describe_process(pid)} " for pid in left):
                break
            time.sleep(0.05)
        return left


def _wait_for_grandchildren(seconds: float) -> None:
    """Wait until the children of this process have none themselves; kill those that are left then."""

    def grandchildren() -> list[psutil.Process]:
        return [each for child in psutil.Process().children() for each in child.children(recursive=True)]

    deadline, left = time.monotonic() + seconds, True
    while left and time.monotonic() < deadline:
        time.sleep(0.2)
        with suppress(psutil.NoSuchProcess):  # one has ended meanwhile
            left = bool(grandchildren())
    with suppress(psutil.NoSuchProcess):
        for each in grandchildren():
            each.kill()
