"""Runs the programs of answers against the tests that a source has beside its questions."""

import json
import math
from collections.abc import Sequence
from typing import Any

from openthoughts_dagster.answers import AnswerToTest, ProgramVerdict
from openthoughts_dagster.evaluation.confined import Limits, Outcome, start_programs
from openthoughts_dagster.evaluation.confined.starting import RecipeConfinement
from openthoughts_dagster.evaluation.program_tests import ProgramTest, extract_python, run_until_wrong
from openthoughts_dagster.evaluation.tested_problems import find_tests_problem, make_tests

_SHOWN = 60  # characters of what a program printed that the evidence shows
_ENDED = {
    "time": "it ran longer than {seconds:g} s",
    "cpu": "it used more than {seconds:g} s of the processor",
    "output": "its output is too large",
    "killed": "it was killed",
    "lost": "it could not be run: {detail}",
}


def run_reference_tests(
    asked: Sequence[AnswerToTest], seconds: float, confinement: RecipeConfinement = "auto"
) -> list[ProgramVerdict]:
    """Run the program of each answer against the tests of its question, in confinement.

    The tests are in the reference answer or in the metadata, in the form of the problems of a `programs` benchmark. A
    missing prompt of HumanEval's is the question.

    Args:
        asked: The answers. Equal programs of one question run once.
        seconds: The longest time of one test, wall clock and processor alike.
        confinement: The recipe's `evaluation.confinement`.

    Returns:
        A verdict for each answer, in order.

    Raises:
        ConfinementError: This machine cannot confine programs.
    """
    runs = [_find_run(answer) for answer in asked]
    unique = list(dict.fromkeys(run for run in runs if not isinstance(run, ProgramVerdict)))
    if not unique:
        return [run for run in runs if isinstance(run, ProgramVerdict)]
    limits = Limits(seconds=seconds, cpu_seconds=max(1, math.ceil(seconds)))
    tests = [make_tests(json.loads(problem), program, limits) for problem, program in unique]
    with start_programs(confinement) as pool:
        outcomes = run_until_wrong(pool, tests)
    verdicts = dict(zip(unique, map(_judge_program, tests, outcomes), strict=True))
    return [run if isinstance(run, ProgramVerdict) else verdicts[run] for run in runs]


def _find_run(answer: AnswerToTest) -> tuple[str, str] | ProgramVerdict:
    """Return the problem as JSON and the program, or the verdict where there is nothing to run."""
    found = _find_problem(answer)
    if isinstance(found, str):
        return ProgramVerdict("no_tests", found)
    program = extract_python(answer.answer)
    if program is None:
        return ProgramVerdict("not_verified", "it has no program")
    return json.dumps(found, sort_keys=True), program


def _find_problem(answer: AnswerToTest) -> dict[str, Any] | str:
    """Return the problem with its tests, or why there is none."""
    for text in (answer.reference, answer.metadata):
        fields = _read_object(text)
        if isinstance(tests := fields.get("tests"), str):
            fields["tests"] = _read_json(tests)
        if "test" in fields and "entry_point" in fields:
            fields.setdefault("prompt", answer.question + "\n")
        elif "tests" not in fields:
            continue
        return find_tests_problem(fields) or fields
    return "neither its reference answer nor its metadata has tests"


def _read_object(text: str | None) -> dict[str, Any]:
    found = _read_json(text or "")
    return found if isinstance(found, dict) else {}


def _read_json(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _judge_program(tests: Sequence[ProgramTest], outcomes: Sequence[Outcome]) -> ProgramVerdict:
    right, count = 0, sum(test.count for test in tests)
    for test, outcome in zip(tests, outcomes, strict=False):  # those after the first that failed did not run
        if not test.passes(outcome):
            right += test.right(outcome)
            how = _describe_failure(test, outcome)
            return ProgramVerdict("not_verified", f"test {right + 1} of {count} fails: {how}")
        right += test.count
    return (
        ProgramVerdict(None) if right == count else ProgramVerdict("not_verified", f"only {right} of {count} tests ran")
    )


def _describe_failure(test: ProgramTest, outcome: Outcome) -> str:
    if outcome.status == "ok":
        wrong = outcome.values[test.right(outcome) :]
        return f"it returns {_shorten(repr(wrong[0]))}" if wrong else f"it prints {_shorten(repr(outcome.stdout))}"
    if outcome.status == "error":
        lines = outcome.detail.strip().splitlines()
        return _shorten(lines[-1]) if lines else "it ends with an error"
    return _ENDED[outcome.status].format(seconds=test.limits.seconds, detail=outcome.detail)


def _shorten(text: str) -> str:
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."
