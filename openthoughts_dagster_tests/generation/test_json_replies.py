"""The one reader of models' JSON: LaTeX as it was typed, prose and fences around it, and nothing guessed."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from openthoughts_dagster.generation.json_replies import ask_for_json, parse_json_reply, read_json_replies
from openthoughts_dagster.generation.requests import Answer, Prompt

CASES = Path(__file__).parent / "judge_replies.jsonl"
RATING = {"type": "object", "properties": {"difficulty": {"type": "integer"}}, "required": ["difficulty"]}


@pytest.mark.parametrize(
    ("reply", "question"),
    [
        (
            r'{"question": "Compute $\frac{1}{2}$ for $\theta=\beta$, $\nu \neq \rho$"}',
            r"Compute $\frac{1}{2}$ for $\theta=\beta$, $\nu \neq \rho$",
        ),
        (r'{"question": "Is $\alpha > \sqrt{2}$?"}', r"Is $\alpha > \sqrt{2}$?"),
        (r'{"question": "Compute $\\frac{1}{2}$ and $\\tan x$"}', r"Compute $\frac{1}{2}$ and $\tan x$"),
        (r'{"question": "First line\nSecond $x$"}', "First line\nSecond $x$"),
        ('{"question": "First line\nSecond $x$"}', "First line\nSecond $x$"),
        (r'{"question": "The frequency \nu of light, and \times"}', r"The frequency \nu of light, and \times"),
        (r'{"question": "Two vectors.\nu is \\alpha long"}', "Two vectors.\nu is \\alpha long"),
        (r'{"question": "$a\neq b$\nnow"}', "$a\\neq b$\nnow"),
        (r'{"question": "$$\\frac{a}{b}$$\n$\\nu$"}', "$$\\frac{a}{b}$$\n$\\nu$"),
        (r'{"question": "Mixed $\\frac{1}{2} \theta$"}', r"Mixed $\frac{1}{2} \theta$"),
        (
            r'{"question": "\begin{matrix} 1 & 2 \\ 3 & 4 \end{matrix}"}',
            r"\begin{matrix} 1 & 2 \\ 3 & 4 \end{matrix}",
        ),
        (r'{"question": "\{1, 2\} \cup \upsilon, \(x\), 5\%"}', r"\{1, 2\} \cup \upsilon, \(x\), 5\%"),
        (r'{"question": "def f():\n\treturn \"a\\nb\"\r\n"}', 'def f():\n\treturn "a\\nb"\r\n'),
        (r'{"question": "a\tan apple\n\tto \\textbf{it}"}', "a\tan apple\n\tto \\textbf{it}"),
        (r'{"question": "C:\\temp\\new, caf\u00e9 \ud83d\ude00 \/"}', "C:\\temp\\new, café 😀 /"),
    ],
)
def test_latex_comes_out_as_it_was_typed(reply: str, question: str) -> None:
    assert parse_json_reply(reply) == {"question": question}


@pytest.mark.parametrize("case", [*map(json.loads, CASES.read_text().splitlines())], ids=lambda case: case["theme"])
def test_replies_that_users_reported_are_read_as_they_were_meant(case: dict[str, Any]) -> None:
    if case["value"] is None:
        with pytest.raises(ValueError, match="no JSON"):
            parse_json_reply(case["reply"])
    else:
        assert parse_json_reply(case["reply"])[case["field"]] == case["value"]


@pytest.mark.parametrize(
    "text",
    ["a\nb\tc", 'say "x" \\ y', r"\frac{\theta}{\nu}", "$\\alpha$\n\nLet $x$\n- a\n- b", "naïve\u2028\x00", "\\\\"],
)
def test_json_that_a_library_wrote_is_read_as_it_was_written(text: str) -> None:
    assert parse_json_reply(json.dumps({"q": [text]})) == {"q": [text]}
    assert parse_json_reply(json.dumps({"q": text}, ensure_ascii=False, indent=1)) == {"q": text}


@pytest.mark.parametrize(
    "reply",
    [
        '```json\n{"difficulty": 3, "reasoning": "ok"}\n```',
        'The set {1, 2} [sic] and $\\frac{1}{2}$: {"difficulty": 3, "reasoning": "a } and a { in it"} as you asked.',
        'It is {hard. {"difficulty": 3}',
        '{"difficulty": 3, "reasoning": "needs $\\sqrt{2}$"}',
        'First {"draft": true}, then {"difficulty": 3}, so {"difficulty": 3}',
        'Of [1, 2]: {"difficulty": 3}',
    ],
)
def test_the_json_is_found_in_what_stands_around_it(reply: str) -> None:
    assert parse_json_reply(reply, RATING)["difficulty"] == 3


@pytest.mark.parametrize(
    ("reply", "problem"),
    [
        ("I would say it is quite hard.", "no JSON"),
        ("", "no JSON"),
        ('{"difficulty": "hard"}', r"\$.difficulty: 'hard' is not of type 'integer'"),
        ('{"difficulty": 3', "not closed"),
        ('{"difficulty": 3} or {"difficulty": 4}', "2 different"),
        ('{"difficulty": NaN}', "NaN"),
        ('{"difficulty": 1e999}', "too large"),
        ('{"difficulty": %s}' % ("9" * 5000), "digits"),
        ('{"difficulty": 3, "reasoning": "\\ud83d"}', "surrogate"),
        ("[" * 100_000, "64 levels"),
        ('{"a":' * 100 + "1" + "}" * 100, "64 levels"),
        ("{ " * 40 + "x", "not closed"),
    ],
)
def test_what_cannot_be_read_says_why(reply: str, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        parse_json_reply(reply, RATING)


class Judge:
    """Replies from a script: each prompt has its replies in order; an Exception's text is a failed request."""

    def __init__(self, **replies: list[str | Exception]) -> None:
        self.replies = replies
        self.asked: list[tuple[str, int]] = []

    def __call__(self, prompts: Sequence[Prompt]) -> list[list[Answer]]:
        self.asked += [(prompt.user, prompt.first_sample) for prompt in prompts]
        return [[self._answer(prompt)] for prompt in prompts]

    def _answer(self, prompt: Prompt) -> Answer:
        reply = self.replies[prompt.user][prompt.first_sample]
        failed = isinstance(reply, Exception)
        text, error = ("", str(reply)) if failed else (str(reply), None)
        return Answer("key", prompt.first_sample, None, text, "error" if failed else "stop", error, 1, 1)


def difficulty(value: Any) -> int | None:
    return value["difficulty"] if 1 <= value["difficulty"] <= 10 else None


def test_an_unreadable_reply_is_asked_again_as_another_sample_and_then_given_up() -> None:
    judge = Judge(
        good=['{"difficulty": 7}'],
        second=["hard", '{"difficulty": 99}', '{"difficulty": 2}'],
        never=["hm", "hm", "hm"],
        refused=[ValueError("HTTP 400")],
    )
    readings = read_json_replies(["good", "second", "never", "refused"], judge, RATING, difficulty, attempts=3)
    assert [reading.value for reading in readings] == [7, 2, None, None]
    assert [reading.failure for reading in readings] == [None, None, "reply_unreadable", "judge_failed"]
    assert readings[2].evidence == "there is no JSON in it: hm" and readings[3].evidence == "HTTP 400"
    assert judge.asked == [
        *[(name, 0) for name in ("good", "second", "never", "refused")],
        *[(name, sample) for sample in (1, 2) for name in ("second", "never")],
    ]
    assert ask_for_json(["good", "never"], judge, RATING, difficulty, attempts=1) == [7, None]
