"""A recipe's benchmark as lighteval tasks that are ready to run: data loaded, repeats set, every item named."""

from collections import Counter
from dataclasses import dataclass
from typing import Any

from openthoughts_dagster.evaluation.confined import ConfinementError
from openthoughts_dagster.evaluation.errors import BenchmarkError
from openthoughts_dagster.evaluation.judged import judging_class
from openthoughts_dagster.evaluation.kinds import kind_of
from openthoughts_dagster.evaluation.metrics import main_metric
from openthoughts_dagster.evaluation.task_context import TaskContext, seeded
from openthoughts_dagster.lake import text_hash
from openthoughts_dagster.recipe import Benchmark


@dataclass(frozen=True)
class PreparedTask:
    """A `LightevalTask`, its documents, the metric that is its score, and how many samples that metric reads.

    `judged` is the metric's function where it is one of ours (`judged.py`), `positions` the place of each document.
    A document's id is `text_hash(query)-occurrence`: the same in every run, whatever the order or limit of items.
    """

    benchmark: str
    task: Any
    docs: list[Any]
    metric: str
    repeats: int
    judged: Any
    positions: dict[str, int]


def prepared_tasks(benchmark: Benchmark, context: TaskContext) -> list[PreparedTask]:
    """The tasks of a benchmark; several when lighteval's task is a family such as mmlu, and `items` holds for each.

    Raises BenchmarkError, naming the benchmark, when a file, a task or its data set cannot be used.
    """
    try:
        tasks = kind_of(benchmark).make_tasks(benchmark, context)
        seen: Counter[str] = Counter()
        return [_prepared(benchmark, task, seen) for task in tasks]
    except (BenchmarkError, ConfinementError) as error:
        raise BenchmarkError(f"evaluation.benchmarks.{benchmark.name}: {error}") from error


def _prepared(benchmark: Benchmark, task: Any, seen: Counter[str]) -> PreparedTask:
    metric, repeats = main_metric(task.metrics)
    ours = [entry.sample_level_fn for entry in task.metrics if isinstance(entry.sample_level_fn, judging_class())]
    judged = ours[0] if ours else None
    try:
        with seeded():  # some tasks shuffle choices with the global generator; prompts must be the same every time
            docs = task.eval_docs()
            if benchmark.items is not None:
                # get_docs(max_samples) would take a sample; the recipe says the first.
                task._docs = docs = docs[: benchmark.items]
            for doc in docs:
                question = text_hash(doc.query)
                doc.id = f"{question}-{seen[question]}"
                seen[question] += 1
            positions = {doc.id: place for place, doc in enumerate(docs)}
            return PreparedTask(benchmark.name, task, task.get_docs(), metric, repeats, judged, positions)
    except Exception as error:  # a task's prompt function over data of another shape
        raise BenchmarkError(
            f"the data set {task.config.hf_repo} gives no prompts for lighteval's task {task.name!r}: "
            f"{type(error).__name__}: {error}"
        ) from error
