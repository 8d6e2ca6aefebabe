"""Which answers a student trains on."""

import polars as pl

from openthoughts_dagster.training import sample_rows

ANSWERS = pl.DataFrame(
    {
        "question_id": [f"q{n}" for n in range(10) for _ in range(2)],
        "sample_index": [0, 1] * 10,
        "question": [f"What is {n} + 1?" for n in range(10) for _ in range(2)],
        "reasoning": [None if n % 2 else f"{n}+1={n + 1}" for n in range(10) for _ in range(2)],
        "answer": [str(n + 1) for n in range(10) for _ in range(2)],
    }
)


def test_the_order_depends_on_the_seed_and_not_on_how_answers_arrived() -> None:
    rows = sample_rows(ANSWERS, 8, seed=1, repeat=False)

    assert rows.equals(sample_rows(ANSWERS.reverse(), 8, seed=1, repeat=False))
    assert not rows.equals(sample_rows(ANSWERS, 8, seed=2, repeat=False))


def test_a_larger_student_begins_with_the_rows_of_the_smaller() -> None:
    small, large = (sample_rows(ANSWERS, count, seed=1, repeat=False) for count in (5, 12))
    assert small.equals(large.head(5))


def test_a_small_source_is_repeated_up_to_the_size_only_when_asked() -> None:
    assert sample_rows(ANSWERS, 50, seed=1, repeat=False).height == 20
    repeated = sample_rows(ANSWERS, 50, seed=1, repeat=True)
    assert repeated.height == 50
    assert repeated.head(20).equals(repeated.slice(20, 20))


def test_reasoning_stands_in_think_tags_before_the_answer() -> None:
    texts = dict(sample_rows(ANSWERS, 20, seed=1, repeat=False).select("question_id", "text").rows())
    assert texts["q4"] == "<think>4+1=5</think>5"
    assert texts["q5"] == "6"
