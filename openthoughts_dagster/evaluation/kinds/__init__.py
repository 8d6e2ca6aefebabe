"""The kinds of benchmarks. A kind is a model in `recipe/benchmarks.py` and a module here of the same name.

The module has two functions:

    make_tasks(benchmark, context) -> list[LightevalTask]   the items, and the metric that scores them
    read_questions(benchmark, resolve) -> list[str] | None  questions that may not be trained on; None if unknown
"""

import importlib
from collections.abc import Callable
from typing import Any, Protocol, cast

from openthoughts_dagster.evaluation.task_context import TaskContext
from openthoughts_dagster.recipe import Benchmark


class BenchmarkKind(Protocol):
    """The functions of a kind's module. Both raise BenchmarkError if the benchmark cannot be used."""

    def make_tasks(self, benchmark: Any, context: TaskContext) -> list[Any]:
        """Make the benchmark's `LightevalTask`s with their data."""

    def read_questions(self, benchmark: Any, resolve: Callable[[str], str]) -> list[str] | None:
        """Return every question, whatever the benchmark's `items`."""


def kind_of(benchmark: Benchmark) -> BenchmarkKind:
    """Return the module of a benchmark's kind."""
    return cast(BenchmarkKind, importlib.import_module(f"{__name__}.{benchmark.kind}"))
