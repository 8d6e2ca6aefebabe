"""Programs in answers, and the tests that they have to pass. They run in confinement; outputs are compared here."""

import io
import pickle
import re
from base64 import b64decode
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from decimal import Decimal, InvalidOperation
from json import dumps as json_dumps
from json import loads
from typing import Any, NoReturn
from zlib import decompress

from openthoughts_dagster.evaluation.confined import (
    CallTask,
    CheckTask,
    Limits,
    Outcome,
    ProgramPool,
    Programs,
    StdinTask,
)
from openthoughts_dagster.evaluation.confined.limits import RunsOfProgram, Task
from openthoughts_dagster.evaluation.confined.pod_messages import PodTest
from openthoughts_dagster.evaluation.confined.pod_pool import PodPool
from openthoughts_dagster.evaluation.confined.values import dump_value
from openthoughts_dagster.evaluation.reading import Verdict

_BLOCK = re.compile(r"^[ \t]*```[^\n]*\n(.*?)^[ \t]*```", re.DOTALL | re.MULTILINE)
_FENCED = re.compile(r"^([ \t]*)```([^\n]*)\n(.*?)^[ \t]*```", re.DOTALL | re.MULTILINE)
_MOST_CHARACTERS = 200_000_000  # of tests in memory at once: hidden tests of a benchmark are gigabytes
_PYTHON = ("python", "python3", "py")
_STATEMENT = re.compile(r"\b(?:def|class|import|return|print|input|for|while)\b|=")
# What LiveCodeBench's own runner puts before every program.
_PRELUDE = "".join(
    f"from {name} import *\n"
    for name in ("string", "re", "datetime", "collections", "heapq", "bisect", "copy", "math", "random", "statistics",
                 "itertools", "functools", "operator", "io", "sys", "json", "builtins", "typing")
) + "".join(
    f"import {name}\n"
    for name in ("string", "re", "datetime", "collections", "heapq", "bisect", "copy", "math", "random", "statistics",
                 "itertools", "functools", "operator", "io", "sys", "json")
) + "sys.setrecursionlimit(50000)\n"  # fmt: skip


@dataclass(frozen=True)
class ProgramTest:
    """One run of a program, and whether what came of it is right.

    Attributes:
        task: The task.
        passes: Whether an outcome is right. An outcome whose status is not "ok" never is.
        limits: The limits of the run.
        characters: About how many characters the right output has; at least as many are read from a pod.
        count: How many tests the run is, such as calls of a function.
        right: How many of them were right before the first that failed.
    """

    task: Task
    passes: Callable[[Outcome], bool]
    limits: Limits
    characters: int = 0
    count: int = 1
    right: Callable[[Outcome], int] = lambda _: 0

    @property
    def limits_with_room(self) -> Limits:
        """The limits, with room for the right output: up to four bytes for each character."""
        room = -(-4 * self.characters // 2**20)
        return replace(self.limits, output_megabytes=self.limits.output_megabytes + room)


TestsOf = Callable[[Any, str], list[ProgramTest]]
"""The tests of a document for a program."""


def judge_programs(
    pool: Programs, tests_of: TestsOf, extract: Callable[[str], str | None] | None = None
) -> Callable[[Sequence[tuple[Any, str]]], list[Verdict]]:
    """The judge of a code benchmark: a program is right when it passes every test; the first failure ends its run.

    Args:
        pool: Runs the programs.
        tests_of: The tests of a document, made for a program.
        extract: Finds the program in an answer; `extract_program` by default.
    """
    read = extract or extract_program
    if isinstance(pool, PodPool):
        return _judge_in_pods(pool, tests_of, read)

    def judge(asked: Sequence[tuple[Any, str]]) -> list[Verdict]:
        def judged(entry: tuple[Any, str]) -> Verdict:
            doc, text = entry
            program = read(text)
            if program is None:
                return Verdict(False, None)
            tests = tests_of(doc, program)
            passed = (test.passes(outcome) for test, outcome in zip(tests, _run_each(pool, tests), strict=True))
            return Verdict(all(passed), program)

        with ThreadPoolExecutor(pool.workers) as threads:
            return list(threads.map(judged, asked))

    return judge


def _judge_in_pods(
    pool: PodPool, tests_of: TestsOf, read: Callable[[str], str | None]
) -> Callable[[Sequence[tuple[Any, str]]], list[Verdict]]:
    """Programs go into pods together, as many as their tests leave room for. What comes back is compared here."""

    def judge(asked: Sequence[tuple[Any, str]]) -> list[Verdict]:
        verdicts, part, size = list[Verdict](), list[tuple[str | None, list[ProgramTest]]](), 0
        for doc, text in asked:
            program = read(text)
            part.append((program, [] if program is None else tests_of(doc, program)))
            size += sum(test.characters + len(getattr(test.task, "stdin", "")) for test in part[-1][1])
            if size > _MOST_CHARACTERS:
                verdicts += judge_part(part)
                part, size = [], 0
        return verdicts + judge_part(part)

    def judge_part(part: Sequence[tuple[str | None, list[ProgramTest]]]) -> list[Verdict]:
        verdicts = []
        for (program, own), outcomes in zip(part, run_until_wrong(pool, [own for _, own in part]), strict=True):
            # A pod ends an item at the first outcome that is not "ok", which does not pass.
            right = all(test.passes(outcome) for test, outcome in zip(own, outcomes, strict=False))
            lost = next((outcome.detail for outcome in outcomes if outcome.status == "lost"), None)
            verdicts.append(Verdict(program is not None and right and len(outcomes) == len(own), program, lost=lost))
        return verdicts

    return judge


def run_until_wrong(pool: Programs, tests: Sequence[Sequence[ProgramTest]]) -> list[list[Outcome]]:
    """Run the tests of several programs, those of each program in order.

    Args:
        pool: Runs the programs.
        tests: The tests of each program.

    Returns:
        The outcomes of each program's tests. They may end with the first that does not pass.
    """
    if isinstance(pool, PodPool):
        wanted = [[PodTest(each.task, each.limits_with_room, 2 * each.characters) for each in own] for own in tests]
        return pool.run_items(wanted)

    def run(own: Sequence[ProgramTest]) -> list[Outcome]:
        outcomes = list[Outcome]()
        for test, outcome in zip(own, _run_each(pool, own), strict=False):
            outcomes.append(outcome)
            if not test.passes(outcome):
                break
        return outcomes

    with ThreadPoolExecutor(pool.workers) as threads:
        return list(threads.map(run, tests))


def _run_each(pool: ProgramPool, tests: Sequence[ProgramTest]) -> Iterator[Outcome]:
    """Run the tests of one program, each when its outcome is asked for."""
    runs = RunsOfProgram()
    for test in tests:
        yield pool.run_one(test.task, runs.limits_now(test.limits_with_room))


def extract_program(text: str) -> str | None:
    """The program of an answer as lighteval reads it: its last whole block of code, or the text where there is none."""
    blocks = _BLOCK.findall(text)
    if blocks:
        return str(blocks[-1]) if blocks[-1].strip() else None
    return text if text.strip() and "```" not in text else None


def extract_python(text: str) -> str | None:
    """The program of an answer as people mean it: its last whole block of Python, which may be indented in a list.

    Blocks with the label of another language, or without a label and a statement, show outputs or commands. Where no
    block is left it is what `extract_program` finds.
    """
    programs = []
    for indent, label, code in _FENCED.findall(text):
        word = (label.split() or [""])[0].lower()
        if word in _PYTHON or (not word and _STATEMENT.search(code)):
            programs.append(re.sub(f"^{indent}", "", code, flags=re.MULTILINE) if indent else code)
    return programs[-1] if programs else extract_program(text)


def stdin_test(program: str, given: str, expected: str, limits: Limits) -> ProgramTest:
    """A program that reads `given` from standard input has to print `expected`."""
    return ProgramTest(
        StdinTask(program, given),
        lambda outcome: outcome.status == "ok" and same_output(outcome.stdout, expected),
        limits,
        len(expected),
    )


def call_test(
    program: str, function: str, calls: Sequence[Sequence[Any]], expected: Sequence[Any], limits: Limits
) -> ProgramTest:
    """A function has to return `expected`, one value for each of `calls`; tuples count as lists."""
    owner = "Solution()." if re.search(r"^class Solution\b", program, re.MULTILINE) else ""
    right = [_listed(value) for value in expected]

    def count_right(outcome: Outcome) -> int:
        equal = [_listed(ours) == theirs for ours, theirs in zip(outcome.values, right, strict=False)]
        return [*equal, False].index(False)

    return ProgramTest(
        CallTask(program, owner + function, tuple(tuple(call) for call in calls)),
        lambda outcome: outcome.status == "ok" and [_listed(value) for value in outcome.values] == right,
        limits,
        sum(len(json_dumps(dump_value(value))) for value in right),  # as values come back
        len(right),
        count_right,
    )


def check_test(prompt: str, function: str, check: str, program: str, limits: Limits) -> ProgramTest:
    """HumanEval's: `check(candidate)` has to end without an error.

    The program stands after the prompt, whose imports and helpers it may use; an answer that is only the function's
    body continues it.
    """
    stub = prompt + "\n    pass\n\n"
    named = f"{function} = candidate\n"  # some tests call the function by its name
    whole = re.search(rf"^\s*def {re.escape(function)}\b", program, re.MULTILINE)
    return ProgramTest(
        CheckTask(stub + program if whole else prompt + program, function, f"{stub}{named}{check}\ncheck(candidate)\n"),
        lambda outcome: outcome.status == "ok",
        limits,
    )


def lighteval_tests(doc: Any, program: str) -> list[ProgramTest]:
    """The tests of lighteval's LiveCodeBench: six seconds for each, as its own runner has it."""
    inputs, outputs, function = (doc.specific[name] for name in ("inputs", "outputs", "fn_name"))
    code = _PRELUDE + "\n" + program
    if function is None:
        limits = Limits(seconds=6, cpu_seconds=6, memory_megabytes=4096)
        return [stdin_test(code, given, right, limits) for given, right in zip(inputs, outputs, strict=True)]
    calls = [[loads(line) for line in given.split("\n") if line.strip()] for given in inputs]
    seconds = min(6 * len(calls), 60)
    limits = Limits(seconds=seconds, cpu_seconds=seconds, memory_megabytes=4096)
    return [call_test(code, function, calls, [loads(output) for output in outputs], limits)]


def private_tests(encoded: str) -> Any:
    """LiveCodeBench's hidden tests: JSON in a pickled text. A pickle of anything but a text is refused."""
    if encoded.lstrip().startswith("["):
        return loads(encoded)
    return loads(_TextUnpickler(io.BytesIO(decompress(b64decode(encoded)))).load())


class _TextUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> NoReturn:
        raise pickle.UnpicklingError(f"the data set's tests name {module}.{name}, and should be a text")


def same_output(printed: str, expected: str) -> bool:
    """Whether two outputs are equal line by line; spaces at line ends do not count, and 1.50 is 1.5."""
    ours, theirs = ([line.strip() for line in text.strip().split("\n")] for text in (printed, expected))
    return len(ours) == len(theirs) and all(
        a == b or (_decimals(a) is not None and _decimals(a) == _decimals(b)) for a, b in zip(ours, theirs, strict=True)
    )


def _decimals(line: str) -> list[Decimal] | None:
    try:
        numbers = [Decimal(word) for word in line.split()]
    except InvalidOperation:
        return None
    return None if any(number.is_nan() for number in numbers) else numbers  # comparing a signaling NaN is an error


def _listed(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return [_listed(entry) for entry in value]
    if isinstance(value, dict):
        return {key: _listed(entry) for key, entry in value.items()}
    return value
