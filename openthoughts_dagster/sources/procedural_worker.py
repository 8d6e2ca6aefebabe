"""The process that generates procedural questions: the same questions in every process, within limits.

Some families of reasoning_gym take their choices from the order of sets, which differs by process, or from the global
random state. So this process runs with a fixed hash seed, seeds every question anew, and has a limit of memory and of
time for each question. It reads its task as JSON from standard input, and writes entries in Python's marshal format,
which holds nothing but plain values.
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

MEMORY = 16 * 2**30  # bytes of address space; libraries map far more than they use
SECONDS = 120  # for one question


def generate(task: Mapping[str, Any], out: IO[bytes]) -> None:
    """Write the entries that the task names, or one mapping with `error` and `says`."""
    import numpy as np
    import reasoning_gym
    from reasoning_gym.factory import DATASETS

    if task["family"] not in DATASETS:
        marshal.dump({"error": "family", "says": sorted(DATASETS)}, out)
        return
    signal.alarm(SECONDS)
    try:
        options = {"size": task["size"], "seed": task["seed"], **task["options"]}
        dataset = reasoning_gym.create_dataset(task["family"], **options)
    except (TypeError, ValueError, AssertionError) as error:
        marshal.dump({"error": "options", "says": str(error)}, out)
        return
    for index in task["indexes"]:
        signal.alarm(SECONDS)  # its default action ends the process, also inside of compiled code
        random.seed(f"{task['seed']}:{index}")
        np.random.seed((task["seed"] * 1_000_003 + index) % 2**32)
        entry = dataset[index]
        marshal.dump(_plain({name: entry[name] for name in ("question", "answer", "metadata")}), out)
    signal.alarm(0)


def _plain(value: Any) -> Any:
    """The value as JSON would write it, of plain types only."""
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
    """Generate what standard input asks for."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    task = json.load(sys.stdin)
    out, sys.stdout = sys.stdout.buffer, sys.stderr  # what a family prints is no entry
    try:
        generate(task, out)
    except Exception as error:  # whatever a family raises is said by the source
        marshal.dump({"error": "failed", "says": f"{type(error).__name__}: {error}"}, out)
    out.flush()


if __name__ == "__main__":
    main()
