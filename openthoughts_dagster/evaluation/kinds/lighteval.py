"""Tasks that lighteval ships."""

import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from openthoughts_dagster.evaluation.errors import BenchmarkError
from openthoughts_dagster.evaluation.judged import judged_metric, make_match_metric
from openthoughts_dagster.evaluation.kinds import TaskContext
from openthoughts_dagster.evaluation.metrics import item_metrics
from openthoughts_dagster.evaluation.program_tests import judge_programs, lighteval_tests, private_tests
from openthoughts_dagster.evaluation.shipped_tasks import shipped_configs
from openthoughts_dagster.questions.question_sets import QuestionSetError, read_addressed
from openthoughts_dagster.recipe import LightevalBenchmark
from openthoughts_dagster.recipe.lock import HubReference, is_commit
from openthoughts_dagster.sources.contract import SourceError
from openthoughts_dagster.sources.copies import local_copy
from openthoughts_dagster.sources.data_sets import content_version, open_once


def make_tasks(benchmark: LightevalBenchmark, context: TaskContext) -> list[Any]:
    """The task, or the tasks of a family such as mmlu, with data from the hub."""
    return [_shipped_task(benchmark, config, context) for config in shipped_configs(benchmark.task)]


def read_questions(benchmark: LightevalBenchmark, resolve: Callable[[str], str]) -> list[str] | None:
    """What the recipe says of the questions: a JSON Lines file or a column of a data set."""
    if benchmark.questions is None:
        return None
    try:
        _, _, questions = read_addressed(benchmark.questions, resolve)
    except QuestionSetError as error:
        raise BenchmarkError(f"questions: {benchmark.questions}: {error}") from error
    if not questions:
        raise BenchmarkError(f"questions: {benchmark.questions}: it has no question")
    return questions


def task_data(benchmark: LightevalBenchmark) -> list[HubReference]:
    """Return the data sets of a task of lighteval that can move, since lighteval names no commit of them.

    Raises:
        BenchmarkError: lighteval has no such task.
    """
    found = {(config.hf_repo, config.hf_revision or None) for config in shipped_configs(benchmark.task)}
    return sorted(HubReference("dataset", name, revision) for name, revision in found if not is_commit(revision))


def _shipped_task(benchmark: LightevalBenchmark, config: Any, context: TaskContext) -> Any:
    from lighteval.tasks.lighteval_task import LightevalTask

    metrics = _metrics(benchmark, config, context)
    if not metrics:
        kinds = sorted({metric.category.name.lower() for metric in config.metrics})
        raise BenchmarkError(
            f"lighteval scores {config.name!r} by {', '.join(kinds)} over given choices, over a whole corpus, or with "
            "a judge of its own: choose a task that scores each generated answer by rule"
        )
    config.metrics = tuple(metrics)
    config.hf_revision = benchmark.revision or config.hf_revision
    copy = Path(context.resolve(config.hf_repo))
    if copy.is_dir():
        try:
            local_copy(copy, config.hf_repo, benchmark.revision, f"the data set {config.hf_repo}")
        except SourceError as error:
            raise BenchmarkError(str(error)) from error
        config.hf_repo, config.hf_revision = str(copy), None
    elif Path(config.hf_repo).is_dir():  # the library `datasets` would take it without a word
        raise BenchmarkError(
            f"there is a folder {config.hf_repo} in the present directory, which would be read in place of the hub's "
            "data set of this id: start this process in another directory"
        )
    # lighteval keys everything by full_name: two benchmarks of one task must not overwrite each other.
    family = benchmark.task.partition("|")[0].partition("@")[0]
    config.full_name = f"{benchmark.name}{config.name.removeprefix(family)}|{config.num_fewshots}"
    task = LightevalTask(config)
    try:
        # Without a full name: two benchmarks of one task share their data.
        opened_as = (config.name, config.hf_repo, config.hf_subset, config.hf_revision)
        version = content_version(config.hf_repo, config.hf_revision)
        task.dataset = open_once(opened_as, lambda: LightevalTask.download_dataset_worker(task), version)
    except Exception as error:  # the hub, the network, a data script: whatever it is, say which data set
        raise BenchmarkError(
            f"the data set {config.hf_repo} ({config.hf_subset}) of lighteval's task {config.name!r} could not be "
            f"loaded: {type(error).__name__}: {(str(error).splitlines() or [''])[0]}. It comes from the Hugging Face "
            "hub: check the network, and HF_TOKEN for gated data sets"
        ) from error
    return task


def _metrics(benchmark: LightevalBenchmark, config: Any, context: TaskContext) -> list[Any]:
    if any("codegen" in str(metric.metric_name) for metric in config.metrics):
        # lighteval runs programs on this machine with all of its rights, and unpickles what a data set says.
        module: Any = importlib.import_module("lighteval.tasks.tasks.lcb.main")
        module.translate_private_test_cases = private_tests
        judge = judge_programs(context.programs(), lighteval_tests)
        return [judged_metric("codegen_pass@1", benchmark.repeats, judge)]
    if benchmark.match is not None:
        return [make_match_metric(benchmark.match, benchmark.repeats)]
    return item_metrics(config.metrics, benchmark.repeats)
