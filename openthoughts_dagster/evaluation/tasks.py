"""A recipe's benchmark as lighteval tasks that are ready to run: data loaded, repeats set, every item named."""

import random
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from openthoughts_dagster.evaluation.errors import BenchmarkError
from openthoughts_dagster.evaluation.file_task import file_task
from openthoughts_dagster.evaluation.metrics import item_metrics, main_metric
from openthoughts_dagster.evaluation.shipped_tasks import shipped_configs
from openthoughts_dagster.lake import text_hash
from openthoughts_dagster.recipe import Benchmark, LightevalBenchmark

_SEED = 1234  # lighteval's own, with which it seeds `random` before it formats the first task


@dataclass(frozen=True)
class PreparedTask:
    """A `LightevalTask`, its documents, the metric that is its score, and how many samples that metric reads.

    A document's id is `text_hash(query)-occurrence`: the same in every run, whatever the order or limit of items.
    """

    benchmark: str
    task: Any
    docs: list[Any]
    metric: str
    repeats: int


def prepared_tasks(benchmark: Benchmark, resolve: Callable[[str], str]) -> list[PreparedTask]:
    """The tasks of a benchmark; several when lighteval's task is a family such as mmlu, and `items` holds for each.

    Raises BenchmarkError, naming the benchmark, when a file, a task or its data set cannot be used.
    """
    try:
        if isinstance(benchmark, LightevalBenchmark):
            tasks = [_shipped_task(benchmark, config) for config in shipped_configs(benchmark.task)]
        else:
            tasks = [file_task(benchmark, resolve(benchmark.path))]
        seen: Counter[str] = Counter()
        return [_prepared(benchmark, task, seen) for task in tasks]
    except BenchmarkError as error:
        raise BenchmarkError(f"evaluation.benchmarks.{benchmark.name}: {error}") from error


def _shipped_task(benchmark: LightevalBenchmark, config: Any) -> Any:
    from lighteval.tasks.lighteval_task import LightevalTask

    if any("codegen" in str(metric.metric_name) for metric in config.metrics):
        raise BenchmarkError(
            f"lighteval's task {config.name!r} runs programs that the model wrote, on this machine and unconfined; "
            "that is refused until they can run in a sandbox: take it out of the recipe"
        )
    metrics = item_metrics(config.metrics, benchmark.repeats)
    if not metrics:
        kinds = sorted({metric.category.name.lower() for metric in config.metrics})
        raise BenchmarkError(
            f"lighteval scores {config.name!r} by {', '.join(kinds)} over given choices, over a whole corpus, or with "
            "a judge of its own: choose a task that scores each generated answer by rule"
        )
    config.metrics = tuple(metrics)
    # lighteval keys everything by full_name: two benchmarks of one task must not overwrite each other.
    family = benchmark.task.partition("|")[0].partition("@")[0]
    config.full_name = f"{benchmark.name}{config.name.removeprefix(family)}|{config.num_fewshots}"
    task = LightevalTask(config)
    try:
        task.dataset = LightevalTask.download_dataset_worker(task)
    except Exception as error:  # the hub, the network, a data script: whatever it is, say which data set
        raise BenchmarkError(
            f"the data set {config.hf_repo} ({config.hf_subset}) of lighteval's task {config.name!r} could not be "
            f"loaded: {type(error).__name__}: {(str(error).splitlines() or [''])[0]}. It comes from the Hugging Face "
            "hub: check the network, and HF_TOKEN for gated data sets"
        ) from error
    return task


def _prepared(benchmark: Benchmark, task: Any, seen: Counter[str]) -> PreparedTask:
    metric, repeats = main_metric(task.metrics)
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
            return PreparedTask(benchmark.name, task, task.get_docs(), metric, repeats)
    except Exception as error:  # a task's prompt function over data of another shape
        raise BenchmarkError(
            f"the data set {task.config.hf_repo} gives no prompts for lighteval's task {task.name!r}: "
            f"{type(error).__name__}: {error}"
        ) from error


@contextmanager
def seeded(seed: int = _SEED) -> Iterator[None]:
    """`random` and numpy's generator seeded as lighteval does, and afterwards as they were."""
    import numpy as np

    python_state, numpy_state = random.getstate(), np.random.get_state()
    random.seed(seed)
    np.random.seed(seed)
    try:
        yield
    finally:
        random.setstate(python_state)
        np.random.set_state(numpy_state)
