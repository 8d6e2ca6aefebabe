"""Questions of one's own with answers."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from openthoughts_dagster.evaluation.items import read_items
from openthoughts_dagster.evaluation.judged import make_match_metric
from openthoughts_dagster.evaluation.kinds import TaskContext
from openthoughts_dagster.evaluation.own_task import make_task
from openthoughts_dagster.recipe import FileBenchmark


def make_tasks(benchmark: FileBenchmark, context: TaskContext) -> list[Any]:
    """One task over a JSON Lines file with question and answer; the question is asked as it stands in the file."""
    path = context.resolve(benchmark.path)
    rows = [{"question": item.question, "answer": item.answer} for item in read_items(Path(path))]
    return [make_task(benchmark.name, path, rows, make_match_metric(benchmark.match, benchmark.repeats))]


def read_questions(benchmark: FileBenchmark, resolve: Callable[[str], str]) -> list[str]:
    """The questions of the file."""
    return [item.question for item in read_items(Path(resolve(benchmark.path)))]
