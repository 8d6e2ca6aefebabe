"""LiveCodeBench, CodeElo and CodeForces: programs, run confined against the tests that the paper runs.

The paper takes the last whole block of code, gives no credit without one, and compares outputs as texts. All tests of a
program have time together there: a second more than the limit of each test, and some seconds more for all of them.
"""

import json
import math
import re
from collections.abc import Callable, Sequence
from functools import partial
from types import SimpleNamespace
from typing import Any

from openthoughts_dagster.evaluation.confined import Limits, Outcome, StdinTask
from openthoughts_dagster.evaluation.paper.rows import PaperRows, Row
from openthoughts_dagster.evaluation.program_tests import (
    ProgramTest,
    call_test,
    extract_program,
    judge_programs,
    lighteval_tests,
    private_tests,
)
from openthoughts_dagster.evaluation.task_context import TaskContext
from openthoughts_dagster.recipe import PaperBenchmark

_COLUMNS = {
    "codeelo": ("title", "time_limit_ms", "input", "output", "interaction", "note", "examples"),
    "codeforces": (
        *("title", "time_limit", "input_format", "output_format", "interaction_format", "note"),
        *("editorial", "examples"),
    ),
}
_FUNCTION = "Generate an executable Python function generated from the given prompt. "
_READS = "The function should take stdin as input and print the output. Simply call the function after the definition."
_RETURNS = "Return the function body without invoking it at the final solution."
_COMPETE = (
    "You are a coding expert. Given a competition-level coding problem, you need to write a Python program to solve "
    "it. You may start by outlining your thought process. In the end, please provide the complete code in a code block "
    "enclosed with ``` ```. The code should take stdin as input and print the output."
)
_CALL = (
    " Your program should be a Python function generated from the given prompt. Simply call the function after the "
    "definition."
)
_MEMORY_MEGABYTES = 4096
_SCORING = "programs-2"  # the number changes with the rules, so that rankings never mix scores of different rules
# Of one word after the opening fence, which may stand anywhere in a line. The paper's may have letters only.
_BLOCK = re.compile(r"```[\w+#.-]*[ \t]*\r?\n(.*?)```", re.DOTALL)


def columns(benchmark: PaperBenchmark) -> tuple[str, ...]:
    """Columns beside the question; hidden tests are read when programs are judged."""
    return _COLUMNS.get(benchmark.task, ("starter_code", "metadata", "public_test_cases"))


def counts(benchmark: PaperBenchmark) -> Callable[[Row], bool]:
    """Problems that are solved by talking to a judge are left out."""
    talk = {"codeelo": "interaction", "codeforces": "interaction_format"}.get(benchmark.task)
    return lambda row: talk is None or not row[talk]


def ask(benchmark: PaperBenchmark, data: PaperRows, context: TaskContext) -> tuple[list[Row], str, Any]:
    """Questions, the name of the scoring, and the judge, which runs programs in the evaluation's pool."""
    prompt, tests = _PROMPTS[benchmark.task], _TESTS[benchmark.task]
    if benchmark.prompt == "lighteval":
        from lighteval.tasks.tasks.lcb.main import prepare_prompt

        def prompt(row: Row) -> str:
            return str(prepare_prompt({**row, "question_content": row["question"]}))

        tests = _lighteval_tests

    def tests_of(doc: Any, program: str) -> list[ProgramTest]:
        return tests(data.whole(doc.specific["row"]), program) or [_never(program)]

    asked = [{"question": prompt(row), "answer": "", "row": place} for place, row in enumerate(data.rows)]
    scoring, extract = (_SCORING, last_block) if benchmark.prompt == "paper" else ("programs", extract_program)
    return asked, scoring, judge_programs(context.programs(), tests_of, extract)


def last_block(text: str) -> str | None:
    """Return the last whole block of code of an answer, as the paper finds it; None where there is none."""
    blocks = _BLOCK.findall(text)
    return str(blocks[-1]) if blocks and blocks[-1].strip() else None


def _livecodebench_prompt(row: Row) -> str:
    tests = json.loads(row["public_test_cases"])
    reads = any(test.get("testtype") == "stdin" for test in tests)
    return _FUNCTION + (_READS if reads else _RETURNS) + str(row["question"])


def _livecodebench_tests(row: Row, program: str) -> list[ProgramTest]:
    """The hidden tests. A function may have the name that the problem gives, which the prompt does not say, or any."""
    hidden = private_tests(row["private_test_cases"])
    if not hidden or hidden[0].get("testtype") == "stdin":
        return _printed(program, [(test["input"], test["output"]) for test in hidden], _same_text, 6, 5)
    calls = [[_value(line) for line in test["input"].split("\n") if line.strip()] for test in hidden]
    name = _function_name(program, json.loads(row["metadata"]).get("func_name"))
    limits = _limits(len(calls) * (6 + 1) + 5)
    return [call_test(program, name, calls, [_value(test["output"]) for test in hidden], limits)]


def _lighteval_tests(row: Row, program: str) -> list[ProgramTest]:
    tests = [*json.loads(row["public_test_cases"]), *private_tests(row["private_test_cases"])]
    specific: Row = {name: [test[name.removesuffix("s")] for test in tests] for name in ("inputs", "outputs")}
    specific["fn_name"] = json.loads(row["metadata"]).get("func_name")
    return lighteval_tests(SimpleNamespace(specific=specific), program)


def _codeelo_prompt(row: Row) -> str:
    given, printed = row["examples"][0]
    page = _page(row, f"{row['time_limit_ms']} ms", "Input", row["input"], "Output", row["output"])
    page += _example(given, printed) + (_part("Note", row["note"]) if row["note"] else "")
    return f'"{_COMPETE}\n\n{page}</body></html>'  # the quotation mark is in the paper's prompt


def _codeelo_tests(row: Row, program: str) -> list[ProgramTest]:
    """CodeElo's hidden tests are Codeforces' own: the paper runs the examples of the problem."""
    return _printed(program, row["examples"], _same_text, float(row["time_limit_ms"]) / 1000, 5)


def _codeforces_prompt(row: Row) -> str:
    limit = f"{row['time_limit']} s"
    page = _page(row, limit, "Input Format", row["input_format"], "Output Format", row["output_format"])
    page += "".join(_example(test["input"], test["output"]) for test in row["examples"] or [])
    page += "".join(_part(name.capitalize(), row[name]) for name in ("note", "editorial") if row[name])
    return f"{_COMPETE}{_CALL}\n\n{page}</body></html>"


def _codeforces_tests(row: Row, program: str) -> list[ProgramTest]:
    """The official tests."""
    tests = [(test["input"], test["output"]) for test in row["official_tests"] or []]
    return _printed(program, tests, _same_line, float(row["time_limit"] or 0), 60)


def _page(row: Row, limit: str, first: str, given: str, second: str, printed: str) -> str:
    head = f"<html><body><h1>{row['title']}</h1><div>Time limit per test: {limit}</div>"
    return head + _part("Description", row["question"]) + _part(first, given) + _part(second, printed)


def _part(title: str, text: str) -> str:
    return f"<h2>{title}</h2><div>{text}</div>"


def _example(given: str, printed: str) -> str:
    return f"<h2>Example</h2><h3>Input</h3><div>{given}</div><h3>Output</h3><div>{printed}</div>"


def _printed(
    program: str, tests: Sequence[tuple[str, str]], same: Callable[[str, str], bool], seconds: float, more: float
) -> list[ProgramTest]:
    """Tests of what a program prints, by input and output.

    Together they have a second more than `seconds` for each test, and `more` seconds. The paper lets one test use all
    of that, which takes many minutes for a program without end; here it gets what a single test has.
    """
    limits = _limits(seconds + 1 + more, len(tests) * (seconds + 1) + more)

    def passes(outcome: Outcome, wanted: str) -> bool:
        return outcome.status == "ok" and same(outcome.stdout, wanted)

    return [
        ProgramTest(StdinTask(program, given), partial(passes, wanted=wanted), limits, len(wanted))
        for given, wanted in tests
    ]


def _never(program: str) -> ProgramTest:
    """A problem without a test is not solved by anything."""
    return ProgramTest(StdinTask(program), lambda outcome: False, _limits(1))


def _limits(seconds: float, together: float | None = None) -> Limits:
    return Limits(
        seconds=seconds,
        cpu_seconds=math.ceil(seconds),
        memory_megabytes=_MEMORY_MEGABYTES,
        seconds_together=together,
    )


def _same_text(printed: str, wanted: str) -> bool:
    return printed.strip() == wanted.strip()


def _same_line(printed: str, wanted: str) -> bool:
    return _in_one_line(printed) == _in_one_line(wanted)


def _in_one_line(text: str) -> str:
    return text.strip().replace("\n", " ").replace("\r", "")


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return text.strip()


def _function_name(program: str, wanted: str | None) -> str:
    defined: list[str] = re.findall(r"^\s*def\s+(\w+)", program, re.MULTILINE)
    return wanted if wanted and (wanted in defined or not defined) else (defined or ["solve"])[0]


_PROMPTS: dict[str, Callable[[Row], str]] = {
    "livecodebench-2305-2405": _livecodebench_prompt,
    "livecodebench-2406-2501": _livecodebench_prompt,
    "codeelo": _codeelo_prompt,
    "codeforces": _codeforces_prompt,
}
_TESTS: dict[str, Callable[[Row, str], list[ProgramTest]]] = {
    "livecodebench-2305-2405": _livecodebench_tests,
    "livecodebench-2406-2501": _livecodebench_tests,
    "codeelo": _codeelo_tests,
    "codeforces": _codeforces_tests,
}
