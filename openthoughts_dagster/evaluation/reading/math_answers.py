"""Mathematical answers, compared by math-verify in processes of their own."""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from openthoughts_dagster.evaluation.errors import BenchmarkError


def compare_math(pairs: Sequence[tuple[str, str]]) -> list[tuple[bool, str | None]]:
    """Whether each text's answer is its reference, and the answer as it was read.

    Works in any thread. A pair that takes more than a second of processor time is no match.

    Args:
        pairs: References, and texts without their reasoning.

    Raises:
        BenchmarkError: math-verify cannot be started.
    """
    workers = max(1, min(len(os.sched_getaffinity(0)), len(pairs) // 8))
    parts = [pairs[start::workers] for start in range(workers)]
    with ThreadPoolExecutor(workers) as threads:
        done = list(threads.map(_compare_part, parts))
    return [done[place % workers][place // workers] for place in range(len(pairs))]


def _compare_part(pairs: Sequence[tuple[str, str]]) -> list[tuple[bool, str | None]]:
    if not pairs:
        return []
    environment = {
        "PATH": os.environ.get("PATH", os.defpath),
        "PYTHONPATH": os.pathsep.join(sys.path),
        "LANG": "C.UTF-8",
    }
    process = subprocess.Popen(
        [sys.executable, "-m", "openthoughts_dagster.evaluation.reading.math_worker"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment,
        text=True,
    )
    assert process.stdin is not None and process.stdout is not None and process.stderr is not None
    with process:
        try:
            if process.stdout.readline() != "ready\n":
                raise BenchmarkError(f"math-verify cannot be started: {process.stderr.read().strip()[-2000:]}")
            verdicts = []
            for pair in pairs:
                process.stdin.write(json.dumps(pair) + "\n")
                process.stdin.flush()
                right, extracted, *_ = json.loads(process.stdout.readline())
                verdicts.append((bool(right), extracted))
            return verdicts
        finally:
            process.kill()
