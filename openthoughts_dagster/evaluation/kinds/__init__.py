"""The kinds of benchmarks. A kind is a model in `recipe/benchmarks.py` and a module here of the same name.

The module has two functions:

    make_tasks(benchmark, context) -> list[LightevalTask]   the items, and the metric that scores them
    read_questions(benchmark, resolve) -> list[str] | None  questions that may not be trained on; None if unknown
"""

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, cast

from openthoughts_dagster.evaluation.confined import Programs
from openthoughts_dagster.recipe import Benchmark


@dataclass(frozen=True)
class TaskContext:
    """The context in which a kind of benchmark makes its tasks.

    Attributes:
        resolve: Makes a relative path of the recipe absolute.
        programs: Gives the pool that runs programs in confinement, started on first use. Raises ConfinementError.
    """

    resolve: Callable[[str], str]
    programs: Callable[[], Programs]


class BenchmarkKind(Protocol):
    """The functions of a kind's module. Both raise BenchmarkError if the benchmark cannot be used."""

    def make_tasks(self, benchmark: Any, context: TaskContext) -> list[Any]:
        """Make the benchmark's `LightevalTask`s with their data."""

    def read_questions(self, benchmark: Any, resolve: Callable[[str], str]) -> list[str] | None:
        """Return every question, whatever the benchmark's `items`."""


def kind_of(benchmark: Benchmark) -> BenchmarkKind:
    """Return the module of a benchmark's kind."""
    return cast(BenchmarkKind, importlib.import_module(f"{__name__}.{benchmark.kind}"))
