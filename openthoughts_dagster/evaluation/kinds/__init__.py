"""The kinds of benchmarks. A kind is a model in `recipe/benchmarks.py` and a module here of the same name.

The module has two functions:

    make_tasks(benchmark, context) -> list[LightevalTask]   what is asked, and the metric that scores it
    read_questions(benchmark, resolve) -> list[str] | None  what training questions must not repeat; None: unknown
"""

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, cast

from openthoughts_dagster.evaluation.confined import ProgramPool
from openthoughts_dagster.recipe import Benchmark


@dataclass(frozen=True)
class TaskContext:
    """What kinds of benchmarks work with.

    Attributes:
        resolve: Makes a relative path of the recipe absolute.
        programs: Gives the pool that runs programs in confinement, started on first use. Raises ConfinementError.
    """

    resolve: Callable[[str], str]
    programs: Callable[[], ProgramPool]


class BenchmarkKind(Protocol):
    """The functions of a kind's module. Both raise BenchmarkError where the benchmark cannot be used."""

    def make_tasks(self, benchmark: Any, context: TaskContext) -> list[Any]:
        """Tasks with their data, `LightevalTask`s."""

    def read_questions(self, benchmark: Any, resolve: Callable[[str], str]) -> list[str] | None:
        """Every question, whatever the benchmark's `items`."""


def kind_of(benchmark: Benchmark) -> BenchmarkKind:
    """The module of a benchmark's kind."""
    return cast(BenchmarkKind, importlib.import_module(f"{__name__}.{benchmark.kind}"))
