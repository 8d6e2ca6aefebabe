"""The questions of benchmarks, which no training question may repeat."""

from collections.abc import Callable

import polars as pl

from openthoughts_dagster.evaluation.errors import BenchmarkError
from openthoughts_dagster.evaluation.kinds import kind_of
from openthoughts_dagster.recipe import Evaluation

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
