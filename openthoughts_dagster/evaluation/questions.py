"""The questions of benchmarks, which no training question may repeat."""

from collections.abc import Callable
from pathlib import Path

import polars as pl

from openthoughts_dagster.evaluation.errors import BenchmarkError
from openthoughts_dagster.evaluation.items import read_items, read_questions
from openthoughts_dagster.recipe import Evaluation, FileBenchmark, LightevalBenchmark

QUESTIONS = pl.Schema({"benchmark": pl.String, "question": pl.String})


def benchmark_questions(evaluation: Evaluation, resolve: Callable[[str], str]) -> tuple[pl.DataFrame, list[str]]:
    """Columns benchmark and question, every question of each benchmark whatever its `items`; and unchecked names.

    A benchmark is unchecked when it does not say where its questions are: nothing compares with it, and a person
    should know. Raises BenchmarkError that lists every benchmark whose questions cannot be read.
    """
    frames = [QUESTIONS.to_frame()]
    unchecked: list[str] = []
    problems: list[str] = []
    for benchmark in evaluation.benchmarks:
        try:
            questions = _questions(benchmark, resolve)
        except BenchmarkError as error:
            problems.append(f"evaluation.benchmarks.{benchmark.name}: {error}")
            continue
        if questions is None:
            unchecked.append(benchmark.name)
        else:
            frames.append(pl.DataFrame({"benchmark": [benchmark.name] * len(questions), "question": questions}))
    if problems:
        raise BenchmarkError("\n".join(problems))
    return pl.concat(frames), unchecked


def _questions(benchmark: FileBenchmark | LightevalBenchmark, resolve: Callable[[str], str]) -> list[str] | None:
    if isinstance(benchmark, FileBenchmark):
        return [item.question for item in read_items(Path(resolve(benchmark.path)))]
    if benchmark.questions is None:
        return None
    if benchmark.questions.endswith((".jsonl", ".json", ".gz")):
        return read_questions(Path(resolve(benchmark.questions)))
    parts = benchmark.questions.rsplit(":", 2)
    if len(parts) != 3 or not all(parts):
        raise BenchmarkError(
            "questions: must be dataset:split:column, dataset(subset):split:column, or a path that ends in .jsonl, "
            f"got {benchmark.questions!r}"
        )
    dataset, split, column = parts
    return _dataset_questions(dataset, split, column, resolve)


def _dataset_questions(dataset: str, split: str, column: str, resolve: Callable[[str], str]) -> list[str]:
    name, _, subset = dataset.removesuffix(")").partition("(")
    folder = Path(resolve(name))

    from datasets import load_dataset

    try:
        rows = load_dataset(str(folder) if folder.is_dir() else name, subset or None, split=split)
    except Exception as error:  # the hub, the network, a data script: whatever it is, say which data set
        raise BenchmarkError(
            f"questions: {dataset}, split {split}, could not be loaded: {type(error).__name__}: "
            f"{(str(error).splitlines() or [''])[0]}. Check the name, the network, and HF_TOKEN for gated data sets"
        ) from error
    if column not in rows.column_names:
        raise BenchmarkError(
            f"questions: {dataset}, split {split}, has no column {column!r}; it has {rows.column_names}"
        )
    return [str(question) for question in rows[column] if question is not None]
