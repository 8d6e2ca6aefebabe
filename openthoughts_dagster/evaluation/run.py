"""Score a model on all benchmarks of a recipe with lighteval."""

import contextlib
import threading
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from openthoughts_dagster.evaluation.confined import Programs, start_programs
from openthoughts_dagster.evaluation.errors import BenchmarkAnswersMissing, BenchmarkError
from openthoughts_dagster.evaluation.lighteval_model import lighteval_model
from openthoughts_dagster.evaluation.reading import MATH_WORKERS
from openthoughts_dagster.evaluation.samples import reference_of, sample_columns
from openthoughts_dagster.evaluation.task_context import TaskContext, seeded
from openthoughts_dagster.evaluation.tasks import PreparedTask, prepared_tasks
from openthoughts_dagster.generation.requests import AskModel
from openthoughts_dagster.recipe import Evaluation

ITEM_SCORES = pl.Schema(
    {
        "benchmark": pl.String,
        "metric": pl.String,
        "item": pl.String,  # hash of the question's text, and its occurrence in the benchmark
        "question": pl.String,  # as lighteval asks it
        "score": pl.Float64,  # mean over the repeats
        "repeats": pl.Int32,  # samples that the score is made of
        "failed": pl.Int32,  # samples without an answer, counted as wrong
        "truncated": pl.Int32,  # samples cut off at max_tokens
        "no_answer": pl.Int32,  # samples that were answered, and in which no answer was found
        "position": pl.Int32,  # place of the item in the benchmark, from 0
        "reference": pl.String,  # the benchmark's own answer; null where there is none
        "model": pl.String,  # the model's partition of the ledger; null where no ledger was asked
        "samples": pl.String,  # JSON: completion_id, extracted and score of each sample
    }
)


@dataclass(frozen=True)
class EvaluationResult:
    """One row per benchmark and item (see ITEM_SCORES), and the files that lighteval wrote.

    `results_files` are lighteval's JSON summaries with every metric of every task; `details_files` its parquet
    files, one per task, with each document, its answers and reasoning, and its metrics. `confinement` says how programs
    were confined; None where none ran.
    """

    items: pl.DataFrame
    results_files: list[Path]
    details_files: list[Path]
    confinement: str | None = None


def evaluate(
    evaluation: Evaluation, resolve: Callable[[str], str], ask: AskModel, output: Path, model_name: str
) -> EvaluationResult:
    """Ask every item of every benchmark and score the answers.

    All benchmarks are asked in one call of `ask`, so that the engine does not wait for the last trace of each.

    Args:
        evaluation: The recipe's benchmarks and how they are answered.
        resolve: Makes a relative path of the recipe absolute.
        ask: Asks the model.
        output: Folder for lighteval's files, which go below results/ and details/.
        model_name: The model's name in those files.

    Returns:
        One row for each benchmark and item, and the files.

    Raises:
        BenchmarkError: Before anything is asked; lists every benchmark that cannot be run.
        BenchmarkAnswersMissing: More answers are missing, or more of their programs lost, than the recipe allows.
        RuntimeError: A benchmark is scored by a metric of lighteval's that needs signals, outside the main thread.
    """
    before = _list_files(output)
    with contextlib.ExitStack() as stack, MATH_WORKERS, seeded(), _gradients_kept():
        pools: list[Programs] = []

        def programs() -> Programs:
            if not pools:
                pools.append(start_programs(evaluation.confinement))
                stack.callback(pools[0].close)
            return pools[0]

        tasks = _all_tasks(evaluation, TaskContext(resolve, programs))
        _require_main_thread(tasks)
        tracker = _tracker(output)
        model = lighteval_model(ask, model_name, evaluation.sampling, evaluation.missing_answers)
        pipeline = _pipeline(tasks, tracker, model)
        pipeline.evaluate()
    _refuse_lost(tasks, model.faults, evaluation.missing_answers)
    pipeline.save_and_push_results()
    written = sorted(_list_files(output) - before)
    return EvaluationResult(
        items=_item_scores(tasks, tracker.details_logger.details, model),
        results_files=[path for path in written if path.suffix == ".json"],
        details_files=[path for path in written if path.suffix == ".parquet"],
        confinement=pools[0].way if pools else None,
    )


def _require_main_thread(tasks: Sequence[PreparedTask]) -> None:
    """Refuse lighteval's own metrics in other threads: their timeouts fail there and count as wrong answers."""
    if threading.current_thread() is threading.main_thread():
        return
    own = sorted({task.benchmark for task in tasks if task.judged is None})
    if own:
        raise RuntimeError(
            f"{', '.join(own)}: lighteval's metrics need signals: call evaluate from the main thread of a process, or "
            "set `match` for these benchmarks in the recipe"
        )


@contextmanager
def _gradients_kept() -> Iterator[None]:
    """Keep gradients on: importing lighteval turns them off for the whole process, and training needs them."""
    import torch

    enabled = torch.is_grad_enabled()
    try:
        yield
    finally:
        torch.set_grad_enabled(enabled)


def _all_tasks(evaluation: Evaluation, context: TaskContext) -> list[PreparedTask]:
    tasks: list[PreparedTask] = []
    problems: list[str] = []
    for benchmark in evaluation.benchmarks:
        try:
            tasks += prepared_tasks(benchmark, context)
        except BenchmarkError as error:
            problems.append(str(error))
    if problems:
        raise BenchmarkError("\n".join(problems))
    return tasks


def _tracker(output: Path) -> Any:
    from lighteval.logging.evaluation_tracker import EvaluationTracker

    output.mkdir(parents=True, exist_ok=True)
    return EvaluationTracker(output_dir=str(output), save_details=True, push_to_hub=False)


def _pipeline(tasks: Sequence[PreparedTask], tracker: Any, model: Any) -> Any:
    from lighteval.pipeline import ParallelismManager, Pipeline, PipelineParameters

    class PreparedPipeline(Pipeline):
        """lighteval's pipeline over tasks that are loaded already.

        Its own way in imports all of its task modules, and knows one limit of items for all tasks.
        """

        def _init_tasks_and_requests(self, tasks: str) -> None:
            self.registry = None
            self.tasks_dict = {prepared.task.full_name: prepared.task for prepared in prepared_list}
            self.documents_dict = {prepared.task.full_name: prepared.docs for prepared in prepared_list}
            self.sampling_docs = defaultdict(list)
            for prepared in prepared_list:
                for doc in prepared.docs:
                    for method in doc.sampling_methods:
                        self.sampling_docs[method].append(doc)
            self.evaluation_tracker.task_config_logger.log(self.tasks_dict)

    prepared_list = list(tasks)
    parameters = PipelineParameters(
        launcher_type=ParallelismManager.NONE, bootstrap_iters=1000 if _has_error_formulas(tasks) else 0
    )
    names = ",".join(prepared.task.full_name for prepared in tasks)
    return PreparedPipeline(tasks=names, pipeline_parameters=parameters, evaluation_tracker=tracker, model=model)


def _has_error_formulas(tasks: Sequence[PreparedTask]) -> bool:
    """Return whether lighteval has formulas for all standard errors; otherwise it would fork this process."""
    functions = [function for prepared in tasks for function in prepared.task.aggregation().values()]
    return all("mean" in function.__name__ for function in functions)


def _item_scores(tasks: Sequence[PreparedTask], details: Any, model: Any) -> pl.DataFrame:
    faults = model.faults
    rows = [
        {
            "benchmark": prepared.benchmark,
            "metric": prepared.metric,
            "item": detail.doc.id,
            "question": detail.doc.query,
            "score": float(detail.metric[prepared.metric]),
            "repeats": prepared.repeats,
            "failed": faults[detail.doc.task_name, detail.doc.id, "failed"] + len(_lost(prepared, detail.doc.id)),
            "truncated": faults[detail.doc.task_name, detail.doc.id, "truncated"],
            "no_answer": _count_unread(prepared, detail.doc, faults),
            "position": prepared.positions[detail.doc.id],
            "reference": reference_of(detail.doc),
            **sample_columns(prepared, detail, model.completions[detail.doc.task_name, detail.doc.id]),
        }
        for prepared in tasks
        for detail in details[prepared.task.full_name]
    ]
    return pl.DataFrame(rows, schema=ITEM_SCORES).sort("benchmark", "item")


def _lost(prepared: PreparedTask, item: str) -> list[str]:
    return [] if prepared.judged is None else list(prepared.judged.lost(item))


def _refuse_lost(tasks: Sequence[PreparedTask], faults: Any, allowed: float) -> None:
    """Raise BenchmarkAnswersMissing if lost programs and failed requests are more than a share `allowed` of samples."""
    problems = []
    for prepared in tasks:
        lost = Counter(why for doc in prepared.docs for why in _lost(prepared, doc.id))
        failed = sum(faults[doc.task_name, doc.id, "failed"] for doc in prepared.docs)
        samples = prepared.repeats * len(prepared.docs)
        if lost and lost.total() + failed > allowed * samples:
            why = "; ".join(f"{reason} ({count:,} times)" for reason, count in lost.most_common(3))
            requests = f", and {failed:,} requests failed" if failed else ""
            what = f"the programs of {lost.total():,} of {samples:,} answers could not be run{requests}"
            problems.append(f"{prepared.benchmark}: {what}. Why: {why}")
    if problems:
        raise BenchmarkAnswersMissing(
            "\n".join(problems)
            + f"\nThat is more than evaluation.missing_answers: {allowed:g} allows. The answers are in the ledger: "
            "materialize again to run only their programs"
        )


def _count_unread(prepared: PreparedTask, doc: Any, faults: Any) -> int:
    """Count the answered samples without an answer: those that the judge could not read, or the blank ones."""
    if prepared.judged is None:
        return int(faults[doc.task_name, doc.id, "blank"])
    unread = sum(verdict.extracted is None for verdict in prepared.judged.verdicts[doc.id])
    return max(0, unread - faults[doc.task_name, doc.id, "failed"])


def _list_files(output: Path) -> set[Path]:
    return {path for folder in ("results", "details") for path in (output / folder).rglob("*") if path.is_file()}
