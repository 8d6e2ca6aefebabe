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
from openthoughts_dagster.evaluation.program_tests import ProgramTest, extract_python, judge_programs
from openthoughts_dagster.evaluation.tested_problems import find_tests_problem, has_check, make_tests
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
        return make_tests(json.loads(doc.specific["problem"]), program, limits)

    judge = judge_programs(context.programs(), tests_of, extract_python)
    asked = [{"question": _question(row), "answer": "", "problem": json.dumps(row)} for row in rows]
    return [make_task(benchmark.name, benchmark.path, asked, judged_metric("programs_pass", benchmark.repeats, judge))]


def read_questions(benchmark: ProgramsBenchmark, resolve: Callable[[str], str]) -> list[str]:
    """The problems' texts; HumanEval's prompts as they are in the file."""
    rows = _read_problems(Path(resolve(benchmark.path)))
    return [str(row.get("question") or row["prompt"]) for row in rows]


def _question(row: dict[str, Any]) -> str:
    return str(row["question"]) if "question" in row else _COMPLETE.format(row["prompt"])


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
    if has_check(row):
        return dict(row)
    if not isinstance(row, dict) or not isinstance(row.get("question"), str):
        raise BenchmarkError(f"{where}: a problem has prompt, entry_point and test, or question and tests")
    if problem := find_tests_problem(row):
        raise BenchmarkError(f"{where}: {problem}")
    return row
