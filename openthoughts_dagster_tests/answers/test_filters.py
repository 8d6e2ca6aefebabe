"""Which answers a filter drops, and why."""

import polars as pl
import pytest
from pydantic import TypeAdapter

from openthoughts_dagster.answers.agreement import majority_of, result_of, same_result
from openthoughts_dagster.answers.filters import FilterContext, dropped_answers
from openthoughts_dagster.lake import COMPLETIONS, RAW_SOURCES, Lake
from openthoughts_dagster.recipe import AnswerFilter
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


def test_the_random_control_keeps_as_many_and_others(context: FilterContext) -> None:
    control = {"method": "random", "as_many_as": {"method": "longest", "count": 1}}
    dropped = _dropped(context, **control)
    assert len(dropped) == 6 and set(dropped.values()) == {"not_drawn"}
    assert dropped == _dropped(context, **control)
    assert len({tuple(_dropped(context, **control, seed=seed)) for seed in range(5)}) > 1


def test_the_result_is_the_last_box_or_the_last_line() -> None:
    assert result_of("so \\boxed{1} or rather \\boxed{\\frac{1}{2}}.") == "\\frac{1}{2}"
    assert result_of("first\nlast \n\n") == "last"
    assert result_of("  ") == ""


def test_math_takes_one_half_for_a_half_and_exact_does_not() -> None:
    assert same_result("\\frac{1}{2}", "0.5", "math")
    assert not same_result("\\frac{1}{2}", "0.5", "exact")
    assert not same_result("", "", "math")


def test_two_groups_of_one_size_are_no_majority() -> None:
    assert majority_of(["1", "2", "1", "2"], "exact") == [False] * 4
    assert majority_of(["1", "2", "1", ""], "exact") == [True, False, True, False]
