"""Answers as models write them. Cases rebuilt from public reports of users of similar tools."""

import json
import time
from pathlib import Path

import pytest

from openthoughts_dagster.evaluation.reading import MATH_WORKERS, judge_all
from openthoughts_dagster.evaluation.reading.final import last_box
from openthoughts_dagster.generation.reasoning import split_reasoning

# What models write that repeat themselves until they are cut off.
ENDLESS = [
    "so it is 0." + "3" * 40_000,
    "\\boxed{" + "9" * 5_000 + "}",
    "333," * 10_000 + " or so",
    "\\boxed{" * 10_000,
    "\\text{" * 10_000 + "27" + "}" * 10_000,
    "Answer: " * 10_000 + ". " * 10_000,
]
CASES = [json.loads(line) for line in (Path(__file__).parent / "scored_answers.jsonl").read_text().splitlines()]


@pytest.mark.parametrize(("kind", "match"), [("math", "math"), ("choice", "choice"), ("own", "auto")])
def test_every_case_is_judged_as_people_mean_it(kind: str, match: str) -> None:
    cases = [case for case in CASES if case["kind"] == kind]
    verdicts = judge_all(match, [(case["gold"], split_reasoning(case["output"]).answer) for case in cases])
    wrong = [case["theme"] for case, found in zip(cases, verdicts, strict=True) if found.right != bool(case["right"])]
    assert not wrong


def test_a_slow_expression_ends_and_the_next_is_judged() -> None:
    start = time.monotonic()
    slow = [("42", r"\boxed{(10^{10})!}"), ("1", r"\boxed{9^{9^{9^{9}}}}"), (r"\frac{31}{2}", r"\boxed{3\frac{1}{2}}")]
    slow += [(r"\frac{x}{2}", r"\boxed{0.5x}"), (r"\frac{7}{2}", r"\boxed{3\frac{1}{2}}")]
    endless = [("28", text) for text in ENDLESS]
    assert [verdict.right for verdict in judge_all("math", [*endless, *slow])] == [False] * 9 + [True] * 2
    assert time.monotonic() - start < 30  # on a busy machine; a second of processor time each


def test_nothing_that_an_expression_says_is_run() -> None:
    texts = [r"\boxed{__import__('os')._exit(0)}", "__import__('os')._exit(0)", r"\boxed{\input{/etc/passwd}}"]
    with MATH_WORKERS:
        assert [verdict.right for verdict in judge_all("math", [("0", text) for text in texts])] == [False] * 3
        (worker,) = MATH_WORKERS._idle
        worker.kill()  # as the kernel does when memory runs out: another one takes its place
        worker.wait()
        assert judge_all("math", [(r"\sqrt{4}", r"\boxed{2}")])[0].right


@pytest.mark.parametrize(
    ("gold", "text", "right"),
    [
        ("1000", "1,000", True),
        ("1000", "It is $1{,}000$.", True),
        ("0.5", r"\boxed{\frac{1}{2}}", True),
        ("1/3", "0.333", False),
        ("50", "The answer is 50%.", True),
        ("50%", "0.5", True),
        ("-3", "x = −3", True),
        ("7", "3 + 4 = 7", True),
        ("28", "27 or 28", False),
        ("28", "I first thought 27. It is 28 apples.", True),
        ("1e3", "1000", True),
        ("5", "", False),
        ("5", "1/0", False),
        ("12", "The answer is 12 (3 groups of 4).", True),
        ("42", "The answer is 42, not 43.", True),
        ("18", "The answer is 18 dollars for 3 items.", True),
        ("3.14", "The answer is approximately 3.14 (rounded to 2 decimals).", True),
        ("12", "Answer: 1/2 of 24, so 12", True),
        ("7", "Answer: 3 + 4, which is 7", True),
        ("8", "The answer is 3 more than 5, which is 8.", True),
        ("42", "Answer: 42\n\nI checked the answer by adding 20 and 22.", True),
        ("42", "Answer: 41? Let me check. So the answer must be 42.", True),
        ("42", "<answer>42</answer> in 3 steps", True),
        ("3.5", r"\boxed{3\frac{1}{2}}", True),
        ("15.5", r"\boxed{3\frac{1}{2}}", False),
        ("3.5", "It takes 3 1/2 hours", True),
        ("23", r"\boxed{2 3}", False),
        ("1000000", "It is 1 000 000", True),
        ("54", "e4", False),
        ("54", "step e5 is .54e2", True),
    ],
)
def test_numbers_are_compared_by_value(gold: str, text: str, right: bool) -> None:
    assert judge_all("number", [(gold, text)])[0].right is right


@pytest.mark.parametrize("match", ["auto", "number", "choice", "exact"])
def test_models_that_repeat_themselves_are_wrong_and_judged_at_once(match: str) -> None:
    start = time.process_time()
    assert not any(verdict.right for verdict in judge_all(match, [("28", text) for text in ENDLESS]))
    assert time.process_time() - start < 5


@pytest.mark.parametrize(
    ("gold", "text", "extracted"),
    [
        ("C", "The answer is (C) 5 m/s", "C"),
        ("C", "The correct option is hard to see.\n\nC", "C"),
        ("B", "Answer: b.", "B"),
        ("B", "Answer: B, C", None),
        ("A", "Answer: A because it falls", None),
        ("AC", r"\boxed{C, A}", "AC"),
        ("D", r"\boxed{\textbf{(D)}}", "D"),
        ("C", "So the correct choice is C.", "C"),
        ("B", "B) 42", "B"),
        ("B", "<answer>\nB\n</answer>", "B"),
        ("B", "Answer: B\n\nThe answer choices A and C fail.", "B"),
    ],
)
def test_letters_are_read_from_the_end(gold: str, text: str, extracted: str | None) -> None:
    (verdict,) = judge_all("choice", [(gold, text)])
    assert (verdict.extracted, verdict.right) == (extracted, extracted == gold)


def test_boxes_are_read_with_their_braces() -> None:
    assert last_box(r"\boxed{\frac{1}{2}} and \boxed{\{1, 2\}}") == r"\{1, 2\}"
    assert last_box(r"\boxed 7") == "7"
    assert last_box(r"\boxed{never closed") is None


def test_letters_of_a_word_are_no_choice() -> None:
    pairs = [("GO", r"\boxed{OG}"), ("GO", r"\boxed{GO}"), ("BD", r"\boxed{D, B}"), ("NO", "No.")]
    assert [verdict.right for verdict in judge_all("auto", pairs)] == [False, True, True, True]


def test_exact_answers_lose_their_decoration_only() -> None:
    pairs = [
        ("Lima", "**Lima.**"),
        ("Lima", r"\boxed{\text{Lima}}"),
        ("Lima", "lima"),
        ("Lima", "The answer is:\nLima\nI know the answer from school."),
        ("Lima", "<answer>Lima</answer>"),
        ("Lima", "Lima, Peru"),
        ("1.0", "1"),
    ]
    assert [verdict.right for verdict in judge_all("exact", pairs)] == [True] * 5 + [False, False]
