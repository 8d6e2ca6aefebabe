"""The twelve benchmarks of the OpenThoughts3 paper."""

import importlib
from collections.abc import Callable
from typing import Any

from openthoughts_dagster.evaluation.judged import judged_metric
from openthoughts_dagster.evaluation.kinds import TaskContext
from openthoughts_dagster.evaluation.own_task import make_task
from openthoughts_dagster.evaluation.paper.rows import PaperRows, read_rows
from openthoughts_dagster.recipe import PaperBenchmark


def make_tasks(benchmark: PaperBenchmark, context: TaskContext) -> list[Any]:
    """One task. Its metric is named after the prompt and the scoring, such as paper_boxed:n=10."""
    family, data = _read(benchmark, context.resolve)
    asked, scoring, judge = family.ask(benchmark, data, context)
    metric = judged_metric(f"{benchmark.prompt}_{scoring}", benchmark.repeats, judge)
    return [make_task(benchmark.name, data.origin, asked, metric)]


def read_questions(benchmark: PaperBenchmark, resolve: Callable[[str], str]) -> list[str]:
    """The questions that count in the paper, without prompts."""
    _, data = _read(benchmark, resolve)
    return [str(row["question"]) for row in data.rows]


def _read(benchmark: PaperBenchmark, resolve: Callable[[str], str]) -> tuple[Any, PaperRows]:
    family = importlib.import_module(f"openthoughts_dagster.evaluation.paper.{benchmark.data.family}")
    return family, read_rows(benchmark, resolve, family.columns(benchmark), family.counts(benchmark))
