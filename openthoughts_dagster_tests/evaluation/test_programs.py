"""Code benchmarks from the file to the score, with real programs in real confinement."""

import json
from pathlib import Path

import pytest

from openthoughts_dagster.evaluation import BenchmarkError, evaluate
from openthoughts_dagster.evaluation.confined import Limits, ProgramPool, StdinTask, in_pod, kernel
from openthoughts_dagster.evaluation.confined.pod_messages import PodTest
from openthoughts_dagster.evaluation.program_tests import (
    ProgramTest,
    extract_program,
    extract_python,
    run_until_wrong,
    same_output,
)
from openthoughts_dagster.recipe import Evaluation
from openthoughts_dagster_tests.evaluation.helpers import asking, json_lines

# Three problems of HumanEval (OpenAI, MIT licence; see humaneval_sample.LICENSE).
SAMPLE = Path(__file__).parent / "humaneval_sample.jsonl"

pytestmark = pytest.mark.skipif(not kernel.landlock_version(), reason="the kernel has no Landlock")


def programs(path: Path, **settings: object) -> Evaluation:
    benchmark = {"kind": "programs", "name": "code", "path": str(path), "seconds": 5} | settings
    return Evaluation.model_validate({"benchmarks": [benchmark], "confinement": "landlock"})


def scores(path: Path, said: dict[str, str], tmp_path: Path) -> dict[str, float]:
    """The score of each problem, by a word of its question, for what a model says to it."""
    ask = asking(lambda question, _: next(text for word, text in said.items() if word in question))
    items = evaluate(programs(path), str, ask, tmp_path / "out", "student").items
    return {word: items.filter(items["question"].str.contains(word, literal=True))["score"].item() for word in said}


def test_right_solutions_pass_whole_or_continued_and_mutated_ones_fail(tmp_path: Path) -> None:
    problems = [json.loads(line) for line in SAMPLE.read_text().splitlines()]
    whole = {p["entry_point"]: f"So:\n```python\n{p['prompt']}{p['canonical_solution']}```\nDone." for p in problems}
    body = {p["entry_point"]: p["canonical_solution"] for p in problems}
    mutated = {
        p["entry_point"]: f"```python\n{p['prompt']}{p['canonical_solution']}\n_f = {p['entry_point']}\n"
        f"def {p['entry_point']}(*a): return [_f(*a)]\n```"
        for p in problems
    }
    for said, right in ((whole, 1.0), (body, 1.0), (mutated, 0.0)):
        assert scores(SAMPLE, said, tmp_path) == dict.fromkeys(said, right)


def test_a_problem_may_be_asked_in_other_words_than_the_program_that_the_answer_continues(tmp_path: Path) -> None:
    check = "def check(candidate):\n    assert candidate() == 42\n"
    row = {"prompt": "def total():\n    return ", "entry_point": "total", "test": check}
    said = {
        "20 + 22": "42",
        "21 + 21": "21+21",
        "1 + 41": "41",
        "2 + 40": "\ndef f(:",
    }
    path = json_lines(tmp_path / "p.jsonl", [row | {"question": f"What is {sum_}?"} for sum_ in said])
    assert scores(path, said, tmp_path) == dict.fromkeys(said, 0.0) | {"20 + 22": 1.0, "21 + 21": 1.0}


def test_programs_are_right_wrong_malformed_or_cut_off(tmp_path: Path) -> None:
    tests = [{"input": "1 2\n", "output": "3\n"}, {"input": "20 22", "output": "42"}]
    names = ["right", "wrong", "malformed", "cut-off", "early", "silent"]
    path = json_lines(tmp_path / "p.jsonl", [{"question": f"Add ({name}).", "tests": tests} for name in names])
    said = {
        "right": "```python\nprint(sum(map(int, input().split())))\n```",
        "wrong": "```python\nprint(3)\n```",
        "malformed": "```python\nprint(sum(\n```",
        "cut-off": "```python\nprint(sum(map(int, in",
        "early": "```python\nraise SystemExit(0)\n```",
        "silent": "<think>```python\nprint(3)\n```</think>",
    }
    assert scores(path, said, tmp_path) == dict.fromkeys(names, 0.0) | {"right": 1.0}


def test_functions_are_called_and_their_values_compared(tmp_path: Path) -> None:
    tests = [{"input": [2, [1]], "output": [2, [1]]}, {"input": ["a", []], "output": ["a", []]}]
    rows = [{"question": f"Pair ({name}).", "function": "pair", "tests": tests} for name in ("method", "lists")]
    said = {
        "method": "```python\nclass Solution:\n    def pair(self, a, b): return (a, b)\n```",
        "lists": "```python\ndef pair(a, b): return a\n```",
    }
    assert scores(json_lines(tmp_path / "p.jsonl", rows), said, tmp_path) == {"method": 1.0, "lists": 0.0}


def test_the_tests_of_a_program_may_share_their_time() -> None:
    task = StdinTask("import time; time.sleep(0.05)")
    limits = [Limits(seconds=60), Limits(seconds=60, seconds_together=0.05)]
    tests = [ProgramTest(task, lambda outcome: outcome.status == "ok", each) for each in limits]
    with ProgramPool("landlock", workers=1) as pool:
        (outside,) = run_until_wrong(pool, [tests])
        inside = in_pod.run_item(pool, [PodTest(task, each, 0) for each in limits])
    assert [outcome.status for outcome in outside] == [outcome.status for outcome in inside] == ["ok", "time"]


def test_the_result_says_how_programs_were_confined_and_what_had_no_program(tmp_path: Path) -> None:
    result = evaluate(programs(SAMPLE, items=1, repeats=2), str, asking(lambda *_: ""), tmp_path, "student")
    assert result.confinement == "Landlock + seccomp + limits"
    assert result.items.select("metric", "no_answer", "repeats").rows() == [("programs_pass:n=2", 2, 2)]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("not json", "line 1: not JSON"),
        ("[]", "a problem has prompt, entry_point and test, or question and tests"),
        ('{"question": "q", "tests": []}', "`tests` must be a list of at least one object"),
        ('{"question": "q", "tests": [{"input": [1], "output": "1"}]}', "a test has input and output"),
    ],
)
def test_a_file_that_cannot_be_run_says_where(row: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "p.jsonl"
    path.write_text(row + "\n")
    ask = asking(lambda *_: "")
    with pytest.raises(BenchmarkError, match=message):
        evaluate(programs(path), str, ask, tmp_path, "student")
    assert ask.calls == 0


def test_a_machine_that_cannot_confine_refuses_before_anything_is_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kernel, "landlock_version", lambda: 0)
    ask = asking(lambda *_: "")
    with pytest.raises(BenchmarkError, match=r"evaluation\.benchmarks\.code: .*cannot be confined on this machine"):
        evaluate(programs(SAMPLE), str, ask, tmp_path, "student")
    assert ask.calls == 0


def test_the_program_is_the_last_whole_block_or_the_text() -> None:
    assert extract_program("```\na\n```\ntext\n```python\nb\n```") == "b\n"
    assert extract_program("print(1)") == "print(1)"
    assert extract_program("```python\nnever closed") is None
    assert extract_program(" ") is None
    shown = "Run:\n```\n$ 42\n```\n```text\nx = 1\n```"
    assert extract_python(f"```python\nprint(42)\n```\n{shown}") == "print(42)\n"
    assert extract_python("1. First\n   ```py\n   def f():\n       return 1\n   ```") == "def f():\n    return 1\n"
    assert extract_python("```python\ndraft\n```\n```\nprint(1)\n```") == "print(1)\n"
    assert extract_python("```\n1 + 2\n```") == "1 + 2\n" and extract_python("21+21") == "21+21"
    assert extract_python("```python\nnever closed") is None


def test_outputs_are_compared_by_line_and_number() -> None:
    assert same_output("1.50 2\nx\n", "1.5 2.0 \nx")
    assert not same_output("1\n2", "1")
    assert not same_output("50000000000000000", "50000000000000001")
    assert not same_output("sNaN", "1") and same_output("1e999999999", "10e999999998")
