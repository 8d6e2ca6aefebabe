"""Programming problems as JSON objects: HumanEval's fields, or a list of inputs and outputs."""

from collections.abc import Mapping
from typing import Any

from openthoughts_dagster.evaluation.confined import Limits
from openthoughts_dagster.evaluation.program_tests import ProgramTest, call_test, check_test, stdin_test


def has_check(problem: Any) -> bool:
    """Whether a problem has HumanEval's fields: prompt, entry_point and test."""
    names = ("prompt", "entry_point", "test")
    return isinstance(problem, dict) and all(isinstance(problem.get(name), str) for name in names)


def find_tests_problem(problem: Mapping[str, Any]) -> str | None:
    """Return what is wrong with the tests of a problem; None if they can be run."""
    if has_check(problem):
        return None
    tests, kind = problem.get("tests"), list if "function" in problem else str
    if not isinstance(tests, list) or not tests:
        return "`tests` must be a list of at least one object with input and output"
    for test in tests:
        if not isinstance(test, dict) or not isinstance(test.get("input"), kind) or "output" not in test:
            return (
                "a test has input and output; input is a list of arguments where the problem names a function, else a "
                f"text, got {test!r}"
            )
    return None


def make_tests(problem: Mapping[str, Any], program: str, limits: Limits) -> list[ProgramTest]:
    """Make the tests of a problem, which `find_tests_problem` finds nothing wrong with, for a program."""
    if has_check(problem):
        return [check_test(problem["prompt"], problem["entry_point"], problem["test"], program, limits)]
    given, right = ([test[name] for test in problem["tests"]] for name in ("input", "output"))
    if "function" in problem:
        return [call_test(program, problem["function"], given, right, limits)]
    return [stdin_test(program, *pair, limits) for pair in zip(given, right, strict=True)]
