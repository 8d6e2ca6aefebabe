"""Tables keep their schema, and a partition is all there or as it was."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from openthoughts_dagster.lake import (
    RAW_SOURCES,
    SOURCE_RANKING,
    TEACHER_ANSWERS,
    Lake,
    SchemaError,
    frame_hash,
)


@pytest.fixture(params=["folder", "store"])
def lake(request: pytest.FixtureRequest, tmp_path: Path) -> Lake:
    """An empty lake on disk, and one in an object store: what holds for one holds for the other."""
    if request.param == "folder":
        return Lake(tmp_path / "lake")
    request.getfixturevalue("store")
    return Lake("s3://lake/tables")


def _answers(source: str, count: int = 2) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "source": [source] * count,
            "teacher": ["t"] * count,
            "question_id": [f"q{n}" for n in range(count)],
            "sample_index": list(range(count)),
            "model": ["m@1"] * count,
            "key": ["k"] * count,
            "completion_id": [f"c{n}" for n in range(count)],
            "content": ["h"] * count,
        }
    )


def test_replacing_one_partition_leaves_the_others(lake: Lake) -> None:
    for source, count in (("a", 2), ("b", 3), ("a", 5)):
        lake.replace(TEACHER_ANSWERS, _answers(source, count), source=source, teacher="t")
    assert lake.scan(TEACHER_ANSWERS, source="a").collect().height == 5
    assert lake.scan(TEACHER_ANSWERS, source="b").collect().height == 3


def test_replacing_with_no_rows_clears_the_partition_and_nothing_else(lake: Lake) -> None:
    for source in ("a", "b"):
        lake.replace(TEACHER_ANSWERS, _answers(source), source=source, teacher="t")
    lake.replace(TEACHER_ANSWERS, _answers("a", 0), source="a", teacher="t")
    assert lake.scan(TEACHER_ANSWERS).collect()["source"].to_list() == ["b", "b"]


def test_an_update_keeps_what_another_writer_added_meanwhile(lake: Lake) -> None:
    lake.replace(TEACHER_ANSWERS, _answers("other"), source="other", teacher="t")
    calls: list[int] = []

    def add(number: int) -> Callable[[pl.DataFrame], pl.DataFrame]:
        def change(there: pl.DataFrame) -> pl.DataFrame:
            calls.append(there.height)
            if len(calls) == 1:
                lake.update(TEACHER_ANSWERS, add(1), source="a", teacher="t")
            return pl.concat(
                [there, _answers("a", 2)[number : number + 1].select(there.columns)], how="vertical_relaxed"
            )

        return change

    lake.update(TEACHER_ANSWERS, add(0), source="a", teacher="t")
    assert calls == [0, 0, 1]
    assert sorted(lake.scan(TEACHER_ANSWERS, source="a").collect()["question_id"]) == ["q0", "q1"]
    version = lake.version(TEACHER_ANSWERS)
    lake.update(TEACHER_ANSWERS, lambda there: there.reverse(), source="a", teacher="t")
    assert lake.version(TEACHER_ANSWERS) == version


def test_a_table_without_partitions_is_replaced_whole(lake: Lake) -> None:
    row = dict.fromkeys(SOURCE_RANKING.columns) | {"domain": "all", "items": 1, "cells": 1, "complete": True}
    for name in ("a", "b"):
        lake.replace(SOURCE_RANKING, pl.DataFrame([row | {"source": name}], schema=SOURCE_RANKING.schema))
    assert lake.scan(SOURCE_RANKING).collect()["source"].to_list() == ["b"]


def test_rows_that_do_not_fit_name_every_misfit_and_write_nothing(lake: Lake) -> None:
    rows = _answers("a").drop("key").with_columns(sample_index=pl.lit("one"), extra=pl.lit(1))
    rows = rows.with_columns(question_id=pl.lit(None, dtype=pl.String))
    with pytest.raises(SchemaError) as caught:
        lake.append(TEACHER_ANSWERS, rows)
    for expected in ("key is missing", "extra is not expected", "sample_index is String", "question_id has 2 nulls"):
        assert expected in str(caught.value)
    assert lake.scan(TEACHER_ANSWERS).collect().is_empty()


def test_rows_of_another_partition_are_refused(lake: Lake) -> None:
    with pytest.raises(SchemaError, match="rows of another source"):
        lake.replace(TEACHER_ANSWERS, _answers("b"), source="a", teacher="t")


def test_a_table_that_was_never_written_is_empty_with_its_schema(lake: Lake) -> None:
    assert lake.scan(RAW_SOURCES, source="a").collect().schema == RAW_SOURCES.schema


def test_processes_that_append_at_once_all_land(lake: Lake) -> None:
    code = (
        "import sys; from openthoughts_dagster_tests.lake.test_lake import _answers;"
        "from openthoughts_dagster.lake import Lake, TEACHER_ANSWERS;"
        "[Lake(sys.argv[1]).append(TEACHER_ANSWERS, _answers(sys.argv[2])) for _ in range(5)]"
    )
    processes = [subprocess.Popen([sys.executable, "-c", code, lake.root, name]) for name in ("a", "b")]
    assert [process.wait(60) for process in processes] == [0, 0]
    assert lake.scan(TEACHER_ANSWERS).collect().height == 2 * 5 * 2


def test_a_hash_of_rows_does_not_depend_on_their_order(tmp_path: Path) -> None:
    rows = _answers("a", 9)
    assert frame_hash(rows) == frame_hash(rows.reverse()) != frame_hash(rows.head(8))
