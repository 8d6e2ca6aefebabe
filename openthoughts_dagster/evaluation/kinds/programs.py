"""Programming problems, one's own or HumanEval's: students' programs run against tests in confinement."""

import gzip
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

from openthoughts_dagster.evaluation.confined import Limits
from openthoughts_dagster.evaluation.errors import BenchmarkError
from openthoughts_dagster.evaluation.judged import judged_metric
from openthoughts_dagster.evaluation.kinds import TaskContext
from openthoughts_dagster.evaluation.own_task import make_task
from openthoughts_dagster.evaluation.program_tests import (
    ProgramTest,
    call_test,
    check_test,
    judge_programs,
    stdin_test,
)
from openthoughts_dagster.recipe import ProgramsBenchmark

_COMPLETE = "Complete this Python function. Answer with the whole function in one block of code.\n\n```python\n{}```\n"


def make_tasks(benchmark: ProgramsBenchmark, context: TaskContext) -> list[Any]:
    """One task over a JSON Lines file of problems; a score is the share of answers whose program passes all tests."""
    rows = _read_problems(Path(context.resolve(benchmark.path)))
    limits = Limits(
        seconds=benchmark.seconds,
        cpu_seconds=max(1, math.ceil(benchmark.seconds)),
        memory_megabytes=benchmark.memory_megabytes,
    )

    def tests_of(doc: Any, program: str) -> list[ProgramTest]:
        return _tests(json.loads(doc.specific["problem"]), program, limits)

    judge = judge_programs(context.programs(), tests_of)
    asked = [{"question": _question(row), "answer": "", "problem": json.dumps(row)} for row in rows]
    return [make_task(benchmark.name, benchmark.path, asked, judged_metric("programs_pass", benchmark.repeats, judge))]


def read_questions(benchmark: ProgramsBenchmark, resolve: Callable[[str], str]) -> list[str]:
    """The problems' texts; HumanEval's prompts as they are in the file."""
    rows = _read_problems(Path(resolve(benchmark.path)))
    return [str(row.get("question") or row["prompt"]) for row in rows]


def _question(row: dict[str, Any]) -> str:
    return str(row["question"]) if "question" in row else _COMPLETE.format(row["prompt"])


def _tests(row: dict[str, Any], program: str, limits: Limits) -> list[ProgramTest]:
    if "prompt" in row:
        return [check_test(row["prompt"], row["entry_point"], row["test"], program, limits)]
    given, right = ([test[name] for test in row["tests"]] for name in ("input", "output"))
    if "function" in row:
        return [call_test(program, row["function"], given, right, limits)]
    return [stdin_test(program, *pair, limits) for pair in zip(given, right, strict=True)]


def _read_problems(path: Path) -> list[dict[str, Any]]:
    if not path.is_file():
        raise BenchmarkError(f"{path}: there is no such file; correct the path in the recipe")
    with gzip.open(path, "rt", encoding="utf-8") if path.suffix == ".gz" else path.open(encoding="utf-8") as file:
        rows = [_problem(line, f"{path}, line {number}") for number, line in enumerate(file, 1) if line.strip()]
    if not rows:
        raise BenchmarkError(f"{path}: the file is empty; it needs one problem with tests per line")
    return rows


def _problem(line: str, where: str) -> dict[str, Any]:
    try:
        row = json.loads(line)
    except json.JSONDecodeError as error:
        raise BenchmarkError(f"{where}: not JSON: {error}") from error
    if isinstance(row, dict) and all(isinstance(row.get(name), str) for name in ("prompt", "entry_point", "test")):
        return row
    if not isinstance(row, dict) or not isinstance(row.get("question"), str):
        raise BenchmarkError(f"{where}: a problem has prompt, entry_point and test, or question and tests")
    tests, kind = row.get("tests"), list if "function" in row else str
    if not isinstance(tests, list) or not tests:
        raise BenchmarkError(f"{where}: `tests` must be a list of at least one object with input and output")
    for test in tests:
        if not isinstance(test, dict) or not isinstance(test.get("input"), kind) or "output" not in test:
            raise BenchmarkError(
                f"{where}: a test has input and output; input is a list of arguments where the problem names a "
                f"function, else a text, got {test!r}"
            )
    return row
