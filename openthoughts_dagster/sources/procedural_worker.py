"""The process that generates procedural questions: always the same ones, with limits of memory and time.

The choices of some families of reasoning_gym depend on the order of sets, which differs between processes, or on the
global random state. So this process runs with a fixed hash seed and seeds every question anew. Its memory is limited,
and so is the time for each question. It reads its task as JSON from standard input, and writes entries in Python's
marshal format, which holds only plain values.
"""

import json
import marshal
import random
import resource
import signal
import sys
from collections.abc import Mapping
from typing import IO, Any

from openthoughts_dagster.sources.columns import plain_leaf

MEMORY = 16 * 2**30  # bytes of address space, of which libraries reserve far more than they use
SECONDS = 120  # the time for one question


def generate(task: Mapping[str, Any], out: IO[bytes]) -> None:
    """Write the entries that the task asks for, or one mapping with `error` and `says`.

    Args:
        task: The `family`, `size`, `seed`, `options`, and the `indexes` of the questions.
        out: The stream that entries are written to.
    """
    import numpy as np
    import reasoning_gym
    from reasoning_gym.composite import DatasetSpec
    from reasoning_gym.factory import DATASETS

    if task["family"] not in DATASETS:
        marshal.dump({"error": "family", "says": sorted(DATASETS)}, out)
        return
    signal.alarm(SECONDS)
    try:
        options = {"size": task["size"], "seed": task["seed"], **task["options"]}
        if task["family"] == "composite":
            options["datasets"] = [DatasetSpec(**{"weight": 1.0, "config": {}, **spec}) for spec in options["datasets"]]
        dataset = reasoning_gym.create_dataset(task["family"], **options)
    except (TypeError, ValueError, AssertionError, KeyError) as error:
        marshal.dump({"error": "options", "says": str(error)}, out)
        return
    for index in task["indexes"]:
        signal.alarm(SECONDS)  # the alarm ends the process, also while compiled code runs
        random.seed(f"{task['seed']}:{index}")
        np.random.seed((task["seed"] * 1_000_003 + index) % 2**32)
        entry = dataset[index]
        marshal.dump(_plain({name: entry[name] for name in ("question", "answer", "metadata")}), out)
    signal.alarm(0)


def _plain(value: Any) -> Any:
    """Convert a value to the plain types that JSON has."""
    if value is None or isinstance(value, bool):
        return value
    for kind in (str, int, float):
        if isinstance(value, kind):
            return kind(value)
    if isinstance(value, Mapping):
        return {_key(key): _plain(inner) for key, inner in value.items()}
    return [_plain(inner) for inner in value] if isinstance(value, list | tuple) else plain_leaf(value)


def _key(key: Any) -> Any:
    return key if key is None or isinstance(key, str | int | float) else str(key)


def main() -> None:
    """Generate the questions that the task on standard input asks for."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    task = json.load(sys.stdin)
    out, sys.stdout = sys.stdout.buffer, sys.stderr  # the prints of a family must not mix with entries
    try:
        generate(task, out)
    except Exception as error:  # the source reports any error of a family
        marshal.dump({"error": "failed", "says": f"{type(error).__name__}: {error}"}, out)
    out.flush()


if __name__ == "__main__":
    main()
