"""Pools of confined programs, one for each way and user, and how the tests use them."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from openthoughts_dagster.evaluation.confined import (
    Limits,
    Outcome,
    ProgramPool,
    StdinTask,
    kernel,
)
from openthoughts_dagster.evaluation.confined.ways import NOBODY, Interpreter

SHORT = Limits(seconds=5, cpu_seconds=2, memory_megabytes=256, output_megabytes=1)
SYSTEM_PYTHON = "/usr/bin/python3"

NEEDS_LANDLOCK = pytest.mark.skipif(not kernel.landlock_version(), reason="the kernel has no Landlock")


@pytest.fixture(scope="module", params=["landlock", "bubblewrap", "landlock, nobody", "bubblewrap, nobody"])
def pool(request: pytest.FixtureRequest) -> Iterator[ProgramPool]:
    way, _, user = request.param.partition(", ")
    if way == "bubblewrap" and not shutil.which("bwrap"):
        pytest.skip("bubblewrap is not installed")
    interpreter = None
    if user:
        if os.geteuid() or not Path(SYSTEM_PYTHON).exists():
            pytest.skip("only root starts processes of another user, and needs a Python that all can read")
        interpreter = Interpreter.of(SYSTEM_PYTHON, NOBODY)
    with ProgramPool(way, workers=1, interpreter=interpreter) as pool:
        yield pool


@pytest.fixture
def clocked(pool: ProgramPool, request: pytest.FixtureRequest) -> ProgramPool:
    """Some of the pools, for tests that take seconds: whoever keeps the time is the same in all."""
    if request.node.callspec.params["pool"] not in ("landlock", "bubblewrap, nobody"):
        pytest.skip("tested in two of the ways")
    return pool


def run(pool: ProgramPool, program: str, stdin: str = "", limits: Limits = SHORT) -> Outcome:
    (outcome,) = pool.run([StdinTask(program, stdin)], limits)
    return outcome


def attempt(*tries: str) -> str:
    """A program that prints a line for each expression that works."""
    return "import os, sys, ctypes\nlibc = ctypes.CDLL(None)\n" + "\n".join(
        f"try:\n    print('WORKED', {number}, {code})\nexcept (OSError, ImportError, RuntimeError) as e: pass"
        for number, code in enumerate(tries)
    )
