"""The answer filter that runs programs against the tests of their questions, in real confinement."""

import json
from functools import partial
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from pydantic import TypeAdapter

from openthoughts_dagster.answers.filter_context import FilterContext, FilterTools
from openthoughts_dagster.answers.filters import dropped_answers
from openthoughts_dagster.evaluation.confined import kernel
from openthoughts_dagster.evaluation.reference_tests import run_reference_tests
from openthoughts_dagster.lake import COMPLETIONS, RAW_SOURCES, Lake
from openthoughts_dagster.recipe import AnswerFilter
from openthoughts_dagster_tests.answers.rows import completion_rows

# Three problems of HumanEval (OpenAI, MIT licence; see humaneval_sample.LICENSE).
SAMPLE = Path(__file__).parent / "humaneval_sample.jsonl"
PROBLEM: dict[str, str] = json.loads(SAMPLE.read_text().splitlines()[0])
ADD = {"tests": [{"input": "1 2\n", "output": "3\n"}, {"input": "20 22", "output": "42"}]}
PAIRS = [{"input": pair, "output": pair} for pair in ([2, 3], [1, 2])]
QUESTIONS: dict[str, dict[str, Any]] = {
    # As a source keeps it whose question is HumanEval's prompt.
    "humaneval": {
        "question": PROBLEM["prompt"].rstrip(),
        "metadata": {name: PROBLEM[name] for name in ("entry_point", "test")},
    },
    "stdin": {"question": "Add two numbers.", "reference_answer": json.dumps(ADD)},
    "function": {"question": "Pair two values.", "metadata": {"function": "pair", "tests": json.dumps(PAIRS)}},
    "none": {"question": "What is 2 + 2?", "reference_answer": "4"},
    "broken": {"question": "What?", "metadata": {"tests": [{"input": 5}]}},
}
ANSWERS = [
    ("humaneval", f"So:\n```python\n{PROBLEM['prompt']}{PROBLEM['canonical_solution']}```\nDone."),
    ("humaneval", PROBLEM["canonical_solution"]),
    ("humaneval", f"```python\n{PROBLEM['prompt']}    return True\n```"),
    ("stdin", "```python\nprint(sum(map(int, input().split())))\n```"),
    ("stdin", "```python\nprint(3)\n```"),
    ("stdin", "```python\nprint(sum(\n```"),
    ("stdin", "```python\nwhile True: pass\n```"),
    ("stdin", "```python\nimport socket\nsocket.create_connection(('127.0.0.1', 80))\n```"),
    ("stdin", "```python\nprint(sum(map(int, in"),
    ("function", "```python\ndef pair(a, b): return [a, b]\n```"),
    ("function", "```python\ndef pair(a, b): return (2, b)\n```"),
    ("none", "4"),
    ("broken", "```python\nprint(1)\n```"),
    ("stdin", "```python\nprint(42)\n```"),
]
CUT_OFF = len(ANSWERS) - 1
TESTS: AnswerFilter = TypeAdapter(AnswerFilter).validate_python({"method": "verified", "match": "tests", "seconds": 1})

pytestmark = pytest.mark.skipif(not kernel.landlock_version(), reason="the kernel has no Landlock")


def _context(lake: Lake, answered: list[int]) -> FilterContext:
    """The answers of these numbers, the last of which is cut off, with their questions in a lake."""
    defaults = {"source": "code", "domain": "code", "reference_answer": None, "licence": "MIT", "origin": "{}"}
    raw = [
        {**defaults, "question_id": name, **question, "metadata": json.dumps(question.get("metadata", {}))}
        for name, question in QUESTIONS.items()
    ]
    questions = pl.DataFrame(raw, schema=RAW_SOURCES.schema)
    lake.append(RAW_SOURCES, questions)
    ids = [f"c{number}" for number in answered]
    lake.append(COMPLETIONS, completion_rows("m@1", ids, [ANSWERS[n][1] for n in answered], [None] * len(ids)))
    answers = pl.DataFrame(
        {
            "source": ["code"] * len(ids),
            "question_id": [ANSWERS[number][0] for number in answered],
            "sample_index": pl.Series(answered, dtype=pl.Int32),
            "model": ["m@1"] * len(ids),
            "completion_id": ids,
            "outcome": ["unfinished" if number == CUT_OFF else "answered" for number in answered],
            "finish_reason": ["length" if number == CUT_OFF else "stop" for number in answered],
            "completion_tokens": [1] * len(ids),
        }
    )
    tools = FilterTools(run_tests=partial(run_reference_tests, confinement="landlock"))
    return FilterContext(lake, answers, questions.lazy(), tools)


def test_programs_that_fail_a_test_are_dropped_and_the_evidence_says_which(lake: Lake) -> None:
    dropped = dropped_answers(TESTS, _context(lake, list(range(len(ANSWERS)))))
    found = {sample: f"{reason}: {evidence}" for _, _, sample, reason, evidence in dropped.iter_rows()}
    expected = {
        2: "not_verified: test 1 of 1 fails: AssertionError",
        4: "not_verified: test 2 of 2 fails: it prints '3\\n'",
        5: "not_verified: test 1 of 2 fails: SyntaxError",
        6: "not_verified: test 1 of 2 fails: it",
        7: "not_verified: test 1 of 2 fails: PermissionError",
        8: "not_verified: it has no program",
        10: "not_verified: test 2 of 2 fails: it returns (2, 2)",
        11: "no_tests: neither its reference answer nor its metadata has tests",
        12: "no_tests: a test has input and output",
        CUT_OFF: "not_verified: it is cut off",
    }
    assert set(found) == set(expected), found
    for sample, says in expected.items():
        assert found[sample].startswith(says), found[sample]


def test_a_set_of_questions_without_any_tests_is_refused(lake: Lake) -> None:
    with pytest.raises(ValueError, match=r"no question of code has tests .*tests: a list of input and output"):
        dropped_answers(TESTS, _context(lake, [11]))
