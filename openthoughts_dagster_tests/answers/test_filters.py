"""Which answers a filter drops, and why."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from pydantic import TypeAdapter, ValidationError

from openthoughts_dagster.answers.agreement import majority_of, result_of, same_result
from openthoughts_dagster.answers.filter_context import FilterContext, FilterTools
from openthoughts_dagster.answers.filters import FILTERS, dropped_answers
from openthoughts_dagster.answers.judging import judged_majorities, judged_same
from openthoughts_dagster.generation.requests import Answer, Prompt
from openthoughts_dagster.lake import COMPLETIONS, RAW_SOURCES, Lake
from openthoughts_dagster.recipe import AnswerFilter, identity_of
from openthoughts_dagster_tests.answers.rows import completion_rows

ENDS = ["4", "\\boxed{4}", "5", "It is 4", "7", "7", "8", "9"]
LENGTHS = [10, 20, 30, 40, 10, 10, 30, 20]


@pytest.fixture
def context(lake: Lake) -> FilterContext:
    """Two questions with four answers each; the second has no reference answer, and its last answer is cut off."""
    ids = [f"{question}-{sample}" for question in "ab" for sample in range(4)]
    lake.append(COMPLETIONS, completion_rows("m@1", ids, ENDS, [None] * 8))
    raw = pl.DataFrame(
        {
            "source": "s",
            "question_id": ["a", "b"],
            "domain": "math",
            "question": ["2+2?", "?"],
            "reference_answer": ["4", None],
            "licence": "MIT",
            "origin": "{}",
            "metadata": "{}",
        }
    )
    lake.append(RAW_SOURCES, raw)
    answers = pl.DataFrame(
        {
            "source": "s",
            "question_id": ["a"] * 4 + ["b"] * 4,
            "sample_index": pl.Series([0, 1, 2, 3] * 2, dtype=pl.Int32),
            "model": "m@1",
            "completion_id": ids,
            "outcome": ["answered"] * 7 + ["unfinished"],
            "finish_reason": ["stop"] * 7 + ["length"],
            "completion_tokens": LENGTHS,
        }
    )
    return FilterContext(lake, answers, raw.lazy())


def _dropped(context: FilterContext, **settings: object) -> dict[str, str]:
    keep: AnswerFilter = TypeAdapter(AnswerFilter).validate_python(settings)
    rows = dropped_answers(keep, context)
    assert rows["evidence"].null_count() == 0
    return {f"{q}{s}": reason for _, q, s, reason, _ in rows.sort("question_id", "sample_index").iter_rows()}


def test_nothing_is_dropped_without_a_filter(context: FilterContext) -> None:
    assert _dropped(context, method="none") == {}


def test_cut_off_answers_are_dropped(context: FilterContext) -> None:
    assert _dropped(context, method="finished") == {"b3": "unfinished"}


def test_the_longest_and_the_shortest_of_each_question_are_kept(context: FilterContext) -> None:
    assert set(_dropped(context, method="longest", count=1)) == {"a0", "a1", "a2", "b0", "b1", "b3"}
    assert set(_dropped(context, method="shortest", count=2)) == {"a2", "a3", "b2", "b3"}


def test_answers_that_agree_with_most_are_kept(context: FilterContext) -> None:
    assert set(_dropped(context, method="majority", match="exact")) == {"a2", "a3", "b2", "b3"}


def test_answers_that_are_the_reference_are_kept(context: FilterContext) -> None:
    dropped = _dropped(context, method="verified", match="exact")
    assert {name: reason for name, reason in dropped.items() if name[0] == "a"} == {
        "a2": "not_verified",
        "a3": "not_verified",
    }
    assert {dropped[f"b{n}"] for n in range(4)} == {"no_reference"}


ENGLISH = "So we add both numbers, and then we check that the result is even, because both of them are odd."
CHINESE = "因此答案是四,我们可以继续计算这个问题的结果,然后检查它是否正确。"
TEXTS = [
    ENGLISH,
    f"{ENGLISH}\n\n{CHINESE}",
    "Also addieren wir beide Zahlen und prüfen dann, ob das Ergebnis gerade ist, weil beide ungerade sind.",
    "$x^2 + 1 = 0$ \\[ \\int_0^1 \\sin x \\] ```python\nfor x in y: print(x)\n``` 4",
    "word " * 200,
    "\n\n".join(f"Step {n} of the work has words of its own, as many as {n * n} would have." for n in range(40)),
    f"{ENGLISH} " * 3,
    "",
]


def _of_texts(lake: Lake, texts: Sequence[str], tools: FilterTools | None = None) -> FilterContext:
    """Answers with these texts as reasoning, all to one question."""
    ids = [f"t{number}" for number in range(len(texts))]
    lake.append(COMPLETIONS, completion_rows("t@1", ids, ["4"] * len(ids), texts))
    names = {"source": "s", "question_id": "a", "model": "t@1", "outcome": "answered", "finish_reason": "stop"}
    answers = pl.DataFrame(
        {
            **{name: [value] * len(ids) for name, value in names.items()},
            "sample_index": pl.Series(range(len(ids)), dtype=pl.Int32),
            "completion_id": ids,
            "completion_tokens": [1] * len(ids),
        }
    )
    questions = pl.LazyFrame({"source": ["s"], "question_id": ["a"], "question": ["2+2?"]})
    return FilterContext(lake, answers, questions, tools or FilterTools())


@pytest.mark.parametrize(
    ("settings", "dropped", "evidence"),
    [
        ({"method": "language"}, [1, 2], "zh of its letters"),
        ({"method": "language", "keep": ["en", "de"], "share": 0.6}, [], None),
        ({"method": "paragraphs", "words": 100}, [4], "a paragraph of 200 words"),
        ({"method": "repetition", "words": 10}, [4, 6], "% of its passages of 10 words were there before"),
    ],
)
def test_texts_are_judged_by_language_paragraphs_and_repetition(
    settings: dict[str, object], dropped: list[int], evidence: str | None, lake: Lake
) -> None:
    context = _of_texts(lake, TEXTS)
    rows = dropped_answers(TypeAdapter(AnswerFilter).validate_python(settings), context).sort("sample_index")
    assert rows["sample_index"].to_list() == dropped
    assert evidence is None or evidence in rows["evidence"][0]


def test_a_classifier_keeps_the_answers_that_are_like_its_examples(lake: Lake, tmp_path: Path) -> None:
    for name, word in (("good", "careful"), ("bad", "guess")):
        rows = [{"text": f"{word} {word} number {n} {word}"} for n in range(40)]
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    tools = FilterTools(resolve=lambda path: str(tmp_path / path))
    context = _of_texts(lake, ["careful work careful", "guess guess", "careful careful", "guess a guess"], tools)
    settings = {"method": "fasttext", "positives": ["good.jsonl"], "negatives": ["bad.jsonl"], "epochs": 50}
    settings |= {"dimensions": 8, "learning_rate": 0.5, "word_ngrams": 1}
    assert _dropped(context, **settings) == dict.fromkeys(("a1", "a3"), "unlike_examples")
    (tmp_path / "bad.jsonl").write_text('{"answer": "x"}\n')
    with pytest.raises(
        ValueError, match=r"answer_filter: the examples .*bad\.jsonl have no column 'text'; they have answer"
    ):
        _dropped(context, **settings)


def _judge(equal: Sequence[set[str]], asked: list[str]) -> Any:
    """A judge to whom the texts of each set mean the same; it writes down what it was asked."""

    def ask(prompts: Sequence[Prompt]) -> list[list[Answer]]:
        replies = []
        for prompt in prompts:
            asked.append(prompt.user)
            first, second = (part.split("\n")[1] for part in prompt.user.split("result:")[1:])
            same = any({first, second} <= group for group in equal)
            replies.append([Answer("k", 0, None, json.dumps({"same": same}), "stop", None, 1, 1)])
        return replies

    return ask


def test_a_judge_decides_which_results_are_the_same(context: FilterContext) -> None:
    asked: list[str] = []
    judge = _judge([{"It is 4", "4"}], asked)
    tools = FilterTools(judge={"j": judge}.__getitem__)
    judged = FilterContext(context.lake, context.answers, context.questions, tools)
    settings = {"match": "judge", "judge": "j"}
    assert {"a2"} == {n for n in _dropped(judged, method="majority", **settings) if n[0] == "a"}
    assert {"a2"} == {n for n in _dropped(judged, method="verified", **settings) if n[0] == "a"}
    assert all("2+2?" in text or "?" in text for text in asked)


def test_a_judge_is_asked_no_more_than_a_majority_needs() -> None:
    asked: list[str] = []
    ask = _judge([{"a", "A"}], asked)
    assert judged_majorities(["q"], [["a", "A", "a", "b", "c", ""]], ask) == [[True, True, True, False, False, False]]
    assert len(asked) == 3  # a with A, b and c; no group of the rest could be as large
    assert judged_majorities(["q"], [["a", "b", "A", "b"]], ask) == [[False] * 4]
    assert judged_same([("q", "x", "x"), ("q", "", ""), ("q", "x", "")], ask) == [True, False, False]


def test_every_filter_of_texts_has_its_random_control() -> None:
    offered = json.dumps(TypeAdapter(AnswerFilter).json_schema())
    assert set(FILTERS) == {name for name in FILTERS if f'"const": "{name}"' in offered}
    for method in set(FILTERS) - {"none", "random"}:
        with pytest.raises(ValidationError) as caught:
            TypeAdapter(AnswerFilter).validate_python({"method": "random", "as_many_as": {"method": method, "x": 1}})
        assert f"random.as_many_as.{method}.x" in str(caught.value)


def test_a_comparison_by_a_judge_needs_one_and_only_that() -> None:
    for settings in ({"match": "judge"}, {"judge": "j"}):
        with pytest.raises(ValidationError, match="judge"):
            TypeAdapter(AnswerFilter).validate_python({"method": "majority"} | settings)


def test_only_a_verification_runs_tests() -> None:
    with pytest.raises(ValidationError, match=r"majority\.match"):
        TypeAdapter(AnswerFilter).validate_python({"method": "majority", "match": "tests"})
    default = TypeAdapter(AnswerFilter).validate_python({"method": "verified"})
    assert identity_of(default) == {"method": "verified", "match": "math"}  # no student is trained again for `seconds`


def test_the_random_control_keeps_as_many_and_others(context: FilterContext) -> None:
    control = {"method": "random", "as_many_as": {"method": "longest", "count": 1}}
    dropped = _dropped(context, **control)
    assert len(dropped) == 6 and set(dropped.values()) == {"not_drawn"}
    assert dropped == _dropped(context, **control)
    assert len({tuple(_dropped(context, **control, seed=seed)) for seed in range(5)}) > 1


def test_the_result_is_the_last_box_or_the_last_line() -> None:
    assert result_of("so \\boxed{1} or rather \\boxed{\\frac{1}{2}}.") == "\\frac{1}{2}"
    assert result_of("So $\\boxed{\\frac{\\sqrt{2}}{3^{x}}}$, which is right.") == "\\frac{\\sqrt{2}}{3^{x}}"
    assert result_of("\\boxed{\\{1, 2\\}} is in \\boxed{\\left\\{1, 2, 3\\right.} and {") == "\\left\\{1, 2, 3\\right."
    assert result_of("\\boxed{" * 100_000 + "\n7") == "7"
    assert result_of("first\nlast \n\n") == "last"
    assert result_of("  ") == ""


def test_math_takes_one_half_for_a_half_and_exact_does_not() -> None:
    assert same_result("\\frac{1}{2}", "0.5", "math")
    assert not same_result("\\frac{1}{2}", "0.5", "exact")
    assert not same_result("", "", "math")


def test_two_groups_of_one_size_are_no_majority() -> None:
    assert majority_of(["1", "2", "1", "2"], "exact") == [False] * 4
    assert majority_of(["1", "2", "1", ""], "exact") == [True, False, True, False]
