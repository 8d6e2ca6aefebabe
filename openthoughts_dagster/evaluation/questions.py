"""Reads the questions of benchmarks, which may not be trained on."""

from collections.abc import Callable

import polars as pl

from openthoughts_dagster.evaluation.errors import BenchmarkError
from openthoughts_dagster.evaluation.kinds import kind_of
from openthoughts_dagster.recipe import Evaluation

QUESTIONS = pl.Schema({"benchmark": pl.String, "question": pl.String})


def benchmark_questions(evaluation: Evaluation, resolve: Callable[[str], str]) -> tuple[pl.DataFrame, list[str]]:
    """Read every question of each benchmark, whatever its `items`.

    Args:
        evaluation: The recipe's benchmarks.
        resolve: Makes a relative path of the recipe absolute.

    Returns:
        Columns benchmark and question, and the names of benchmarks that do not say where their questions are; training
        questions cannot be compared with those.

    Raises:
        BenchmarkError: The message lists every benchmark whose questions cannot be read.
    """
    frames = [QUESTIONS.to_frame()]
    unchecked: list[str] = []
    problems: list[str] = []
    for benchmark in evaluation.benchmarks:
        try:
            questions = kind_of(benchmark).read_questions(benchmark, resolve)
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
