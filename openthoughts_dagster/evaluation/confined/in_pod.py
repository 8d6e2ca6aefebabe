"""Runs the programs of one pod: python -m openthoughts_dagster.evaluation.confined.in_pod FOLDER

FOLDER has the batch, in files that are read in the order of their names. Each item's tests run until one of them does
not end well, and its outcomes become one signed line of standard output.
"""

import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from openthoughts_dagster.evaluation.confined.limits import ConfinementError, Outcome, RunsOfProgram
from openthoughts_dagster.evaluation.confined.pod_messages import WAY, Batch, PodTest, sign_line, unpack_item
from openthoughts_dagster.evaluation.confined.pool import ProgramPool
from openthoughts_dagster.evaluation.confined.values import dump_value

LOG_BYTES = 6_000_000
"""The size of the log from which on no further item is begun: nodes cut logs off at 10 MB."""

_BEYOND = 256_000  # characters that the tests of an item may print beyond what is expected
_RESERVED = 0.2  # share of the pod's time in which no further item is begun


def main(folder: str) -> None:
    """Run the batch. Items that are not begun have no line, and get another pod."""
    started = time.monotonic()
    parts = sorted(path for path in Path(folder).iterdir() if path.name.startswith("part-"))
    batch = Batch.load(b"".join(path.read_bytes() for path in parts))
    lock, written = threading.Lock(), 0
    try:
        pool = ProgramPool("sandboxed" if batch.sandboxed else "auto", batch.workers)
    except ConfinementError as error:
        for number, _ in batch.items:
            print(sign_line(batch.key, number, str(error)), flush=True)
        return

    def run(item: tuple[int, bytes]) -> None:
        nonlocal written
        number, packed = item
        if written > LOG_BYTES or time.monotonic() - started > (1 - _RESERVED) * batch.seconds:
            return
        try:
            line = sign_line(batch.key, number, run_item(pool, unpack_item(packed)))
        except ConfinementError as error:
            line = sign_line(batch.key, number, str(error))
        with lock:
            written += len(line) + 1
            print(line, flush=True)

    with pool:
        print(sign_line(batch.key, WAY, pool.way), flush=True)
        with ThreadPoolExecutor(pool.workers) as threads:
            list(threads.map(run, batch.items))


def run_item(pool: ProgramPool, tests: list[PodTest]) -> list[Outcome]:
    """Run the tests of an item until one does not end well, and return their outcomes."""
    outcomes: list[Outcome] = []
    beyond, runs = _BEYOND, RunsOfProgram()
    for test in tests:
        outcome = pool.run_one(test.task, runs.limits_now(test.limits))
        printed = len(outcome.stdout) + len(dump_value(outcome.values))
        beyond -= max(0, printed - test.characters)
        if beyond < 0:
            outcome = Outcome("output", detail=f"it printed {printed} characters, many more than the right output has")
        outcomes.append(outcome)
        if outcome.status != "ok":
            break
    return outcomes


if __name__ == "__main__":
    main(sys.argv[1])
