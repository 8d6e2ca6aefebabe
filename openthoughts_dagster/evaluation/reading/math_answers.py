"""Compares mathematical answers by math-verify in separate processes."""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from openthoughts_dagster.evaluation.confined.standalone import standalone_code
from openthoughts_dagster.evaluation.errors import BenchmarkError

_PACKAGE = "openthoughts_dagster.evaluation"
_MODULES = [f"{_PACKAGE}.confined.kernel", f"{_PACKAGE}.reading.final", f"{_PACKAGE}.reading.math_worker"]
_PAIRS_OF_A_WORKER = 64  # pairs for each worker, because starting a worker takes as long as comparing some pairs

Compared = tuple[bool, str | None]


def compare_math(pairs: Sequence[tuple[str, str]]) -> list[Compared]:
    """Return whether each text's answer equals its reference, and the answer that was read.

    It works in any thread. A pair that takes more than a second of processor time does not match.

    Args:
        pairs: References, and texts without their reasoning.

    Raises:
        BenchmarkError: math-verify cannot be started.
    """
    wanted = min(len(os.sched_getaffinity(0)), -(-len(pairs) // _PAIRS_OF_A_WORKER))
    with MATH_WORKERS, ThreadPoolExecutor(max(1, wanted)) as threads:
        return list(threads.map(MATH_WORKERS.compare, pairs))


class MathWorkers:
    """Processes that compare, started when they are needed. They end with the outermost `with` block that uses them:
    an evaluation holds it open, so that its benchmarks share them."""

    def __init__(self) -> None:
        self._idle: list[subprocess.Popen[str]] = []
        self._lock, self._users = threading.Lock(), 0

    def __enter__(self) -> "MathWorkers":
        with self._lock:
            self._users += 1
        return self

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._users -= 1
            ended = [] if self._users else self._idle
            self._idle = self._idle if self._users else []
        for worker in ended:
            worker.communicate()  # its standard input closes, and it ends

    def compare(self, pair: tuple[str, str]) -> Compared:
        """Compare one pair, within the `with` block. A process that was killed, as for memory, is replaced once."""
        for _ in range(2):
            with self._lock:
                idle = self._idle.pop() if self._idle else None
            worker = idle or _start()
            try:
                line = _ask(worker, pair)
            except BaseException:
                worker.kill()
                worker.communicate()
                raise
            if line:
                right, extracted, *_ = json.loads(line)
                with self._lock:
                    self._idle.append(worker)
                return bool(right), extracted
            _, said = worker.communicate()
        raise BenchmarkError(
            f"the process that compares expressions ended twice, the last time with code {worker.returncode}: "
            f"{said.strip()[-2000:] or 'it said nothing; was it killed because memory ran out?'}"
        )


def _ask(worker: "subprocess.Popen[str]", pair: tuple[str, str]) -> str:
    """Return the line that a worker answers; an empty text if it has ended."""
    assert worker.stdin and worker.stdout
    try:
        worker.stdin.write(json.dumps(pair) + "\n")
        worker.stdin.flush()
    except BrokenPipeError:
        return ""
    return worker.stdout.readline()


def _start() -> "subprocess.Popen[str]":
    worker = subprocess.Popen(
        [sys.executable, "-I", "-c", standalone_code(_MODULES)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={"PATH": os.environ.get("PATH", os.defpath), "LANG": "C.UTF-8"},
        text=True,
    )
    assert worker.stdout
    if worker.stdout.readline() != "ready\n":
        _, error = worker.communicate()
        raise BenchmarkError(f"math-verify cannot be started: {error.strip()[-2000:]}")
    return worker


MATH_WORKERS = MathWorkers()
