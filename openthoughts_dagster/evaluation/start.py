"""Checks what benchmarks need before anything is generated or trained."""

from collections.abc import Callable
from pathlib import Path
from typing import Literal

from openthoughts_dagster.evaluation.confined import ConfinementError, start_programs
from openthoughts_dagster.evaluation.errors import BenchmarkError
from openthoughts_dagster.recipe import Benchmark, Evaluation

Need = tuple[str, bool | None, str]
"""A benchmark, whether it can be had (None: only the hub knows), and what to do."""

_GATED = ("Idavidrein/gpqa", "cais/hle")


def runs_programs(benchmark: Benchmark) -> bool:
    """Whether a benchmark runs programs that a model wrote."""
    if benchmark.kind == "lighteval":
        return benchmark.task.startswith("lcb:")
    return benchmark.kind == "programs" or (benchmark.kind == "paper" and benchmark.data.family == "code")


def require_confinement(evaluation: Evaluation) -> str | None:
    """Return how this machine confines programs; None if no benchmark runs any.

    Raises:
        BenchmarkError: A benchmark runs programs, and this machine cannot confine them as the recipe wants.
    """
    names = [benchmark.name for benchmark in evaluation.benchmarks if runs_programs(benchmark)]
    if not names:
        return None
    try:
        with start_programs(evaluation.confinement, workers=1) as pool:
            return pool.way
    except ConfinementError as error:
        raise BenchmarkError(f"evaluation.benchmarks.{', '.join(names)}: {error}") from error


def benchmark_needs(evaluation: Evaluation, resolve: Callable[[str], str]) -> list[Need]:
    """Return what the paper's benchmarks and confinement need, without asking the hub."""
    needs: list[Need] = []
    for benchmark in evaluation.benchmarks:
        if benchmark.kind != "paper":
            continue
        dataset = benchmark.dataset or benchmark.data.dataset
        if Path(resolve(dataset)).is_dir():
            needs.append((benchmark.name, True, f"its data is at {resolve(dataset)}"))
            continue
        token = "; it is gated: accept its terms and set HF_TOKEN" if dataset in _GATED else ""
        says = f"its data comes from the hub, {dataset}, or from a copy below OPENTHOUGHTS_DATASETS{token}"
        needs.append((benchmark.name, None, says))
    if evaluation.confinement == "pod":  # only the pod of a step may start others
        return [*needs, ("confinement", None, "programs run in pods of their own, which steps try out and start")]
    confined: tuple[Literal[True, False], str]
    try:
        way = require_confinement(evaluation)
        confined = True, f"programs run confined by {way}"
    except BenchmarkError as error:
        way, confined = "", (False, str(error))
    return needs if way is None else [*needs, ("confinement", *confined)]
