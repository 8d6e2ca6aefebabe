"""Which answers a student trains on, and how they are read back with their texts."""

from pathlib import Path

import polars as pl
import pytest
from deltalake import DeltaTable

from openthoughts_dagster.answers import (
    count_licences,
    publish_training_set,
    read_training_set,
    sample_rows,
    training_sets,
    write_training_set,
)
from openthoughts_dagster.lake import COMPLETIONS, TRAINING_SETS, Lake
from openthoughts_dagster_tests.answers.rows import completion_rows

ANSWERS = pl.DataFrame(
    {
        "source": "s",
        "question_id": [f"q{n}" for n in range(10) for _ in range(2)],
        "sample_index": pl.Series([0, 1] * 10, dtype=pl.Int32),
        "model": "m@1",
        "completion_id": [f"q{n}-{sample}" for n in range(10) for sample in (0, 1)],
    }
)
QUESTIONS = pl.LazyFrame(
    {"source": "s", "question_id": [f"q{n}" for n in range(10)], "question": [f"What is {n} + 1?" for n in range(10)]}
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


def test_a_published_set_is_read_in_its_order_with_its_texts(lake: Lake) -> None:
    reasoning = [None if n % 2 else f"{n}+1={n + 1}" for n in range(10) for _ in range(2)]
    answers = [str(n + 1) for n in range(10) for _ in range(2)]
    made = completion_rows("m@1", ANSWERS["completion_id"].to_list(), answers, reasoning)
    reasons = [
        "stop",
        "thinking_budget",
        "length",
        "repetition",
        "unknown",
        "",
        "a server's word",
        "stop",
        "stop",
        "eos",
    ]
    columns = {"finish_reason": reasons, "outcome": ["unfinished"] * 8 + ["answered"] * 2}
    lake.append(COMPLETIONS, made.with_columns(pl.Series(name, column * 2) for name, column in columns.items()))
    chosen = sample_rows(ANSWERS, 30, seed=1, repeat=True)
    publish_training_set(lake, "s|t", chosen)
    read = pl.concat(read_training_set(lake, "s|t", QUESTIONS))

    assert read["question_id"].to_list() == chosen["question_id"].to_list()
    texts = dict(read.select("question_id", "text").rows())
    assert (texts["q4"], texts["q5"]) == ("<think>4+1=5</think>5", "6")
    assert dict(read.select("question_id", "question").rows())["q4"] == "What is 4 + 1?"
    ended = {f"{question}-{sample}": ended for question, sample, _, _, ended in read.drop("source").iter_rows()}
    said = [ended[number] for number in ANSWERS["completion_id"]]
    assert said == [True, True, False, False, None, None, False, True, True, True] * 2


def test_a_set_goes_into_a_file_page_by_page_and_its_rows_are_counted_by_licence(
    lake: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = [str(n + 1) for n in range(10) for _ in range(2)]
    lake.append(COMPLETIONS, completion_rows("m@1", ANSWERS["completion_id"].to_list(), answers, [None] * 20))
    publish_training_set(lake, "s|t", sample_rows(ANSWERS, 30, seed=1, repeat=True))
    monkeypatch.setattr(training_sets, "_PAGE", 7)
    first = write_training_set(lake, "s|t", QUESTIONS, tmp_path / "rows.parquet")
    whole = pl.concat(read_training_set(lake, "s|t", QUESTIONS)).select("question", "text", "ended")
    assert pl.read_parquet(tmp_path / "rows.parquet").equals(whole)
    assert first.equals(whole.select("question", "text").head(5))
    licensed = QUESTIONS.with_columns(licence=pl.when(pl.col("question_id") == "q3").then(pl.lit("MIT")))
    counts = count_licences(lake, "s|t", licensed)
    of_q3 = whole.filter(question="What is 3 + 1?").height
    assert counts.rows() == [("s", "MIT", of_q3), ("s", "unknown", 30 - of_q3)]


def test_an_identical_set_is_not_written_again(lake: Lake) -> None:
    chosen = sample_rows(ANSWERS, 5, seed=1, repeat=False)
    publish_training_set(lake, "s|t", chosen)
    version = DeltaTable(lake.address(TRAINING_SETS)).version()
    publish_training_set(lake, "s|t", chosen)
    assert DeltaTable(lake.address(TRAINING_SETS)).version() == version


def test_a_row_whose_completion_is_gone_is_an_error_that_names_the_set(lake: Lake) -> None:
    publish_training_set(lake, "s|t", ANSWERS)
    with pytest.raises(KeyError, match=r"s\|t: 20 of its rows name a question or a completion"):
        list(read_training_set(lake, "s|t", QUESTIONS))
