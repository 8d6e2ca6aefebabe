"""A table does not grow by what is there already, and old files go."""

import os
import time
from datetime import UTC, datetime, timedelta
from itertools import product
from pathlib import Path

import polars as pl
import pytest
from deltalake import DeltaTable

from openthoughts_dagster.lake import COMPLETIONS, EMBEDDINGS, TEACHER_ANSWERS, WATCHED_SOURCES, Lake
from openthoughts_dagster.lake.claims import claim
from openthoughts_dagster_tests.lake.test_lake import _answers

CELL = {"source": "a", "teacher": "t"}


@pytest.fixture(params=["folder", "store"])
def lake(request: pytest.FixtureRequest, tmp_path: Path) -> Lake:
    """An empty lake on disk, and one in an object store."""
    if request.param == "folder":
        return Lake(tmp_path / "lake")
    request.getfixturevalue("store")
    return Lake("s3://lake/tables")


def _version(lake: Lake) -> int:
    return DeltaTable(lake.address(TEACHER_ANSWERS)).version()


def test_replacing_rows_by_the_same_rows_is_no_new_version(lake: Lake) -> None:
    rows = _answers("a", 9)
    lake.replace(TEACHER_ANSWERS, rows, **CELL)
    before = _version(lake)
    lake.replace(TEACHER_ANSWERS, rows.reverse(), **CELL)
    assert lake.replace_batches(TEACHER_ANSWERS, lambda: [rows[4:], rows[:4]], **CELL) == 9
    assert _version(lake) == before


@pytest.mark.parametrize(
    "other",
    [
        _answers("a", 8),
        _answers("a", 10),
        pl.concat([_answers("a", 8), _answers("a", 1)]),  # as many rows, one of them twice
        _answers("a", 9).with_columns(pl.col("content") + "x"),
    ],
    ids=["fewer", "more", "one twice", "changed"],
)
def test_replacing_rows_by_other_rows_writes_them(lake: Lake, other: pl.DataFrame) -> None:
    for write in ("replace", "replace_batches"):
        lake.replace(TEACHER_ANSWERS, _answers("a", 9), **CELL)
        if write == "replace":
            lake.replace(TEACHER_ANSWERS, other, **CELL)
        else:
            assert lake.replace_batches(TEACHER_ANSWERS, lambda: [other], **CELL) == other.height
        assert lake.scan(TEACHER_ANSWERS).collect().sort(pl.all()).equals(other.sort(pl.all()))


def test_small_files_of_all_tables_are_merged_and_replaced_files_go(lake: Lake) -> None:
    for number in range(4):
        lake.append(EMBEDDINGS, pl.DataFrame([["local@1/2", str(number), [1.0]]], EMBEDDINGS.schema, orient="row"))
        lake.replace(TEACHER_ANSWERS, _answers("a", number + 1), **CELL)
        row = {name: number if kind == pl.Int64 else "x" for name, kind in WATCHED_SOURCES.columns.items()}
        lake.append(WATCHED_SOURCES, pl.DataFrame([row]))
    tables = (EMBEDDINGS, TEACHER_ANSWERS, WATCHED_SOURCES)
    before = {table.name: lake.scan(table).collect().sort(pl.all().exclude("vector")) for table in tables}

    done = {each.table: each for each in lake.maintain(files=2, retention_hours=0)}

    assert set(done) == set(before)
    assert [done[name].merged_partitions for name in before] == [1, 0, 1]
    assert [done[name].deleted_files for name in before] == [4, 3, 4]
    for table in tables:
        assert lake.scan(table).collect().sort(pl.all().exclude("vector")).equals(before[table.name])
        assert len(DeltaTable(lake.address(table)).file_uris()) == 1


def test_files_that_a_reader_may_have_open_stay_for_a_week(lake: Lake) -> None:
    for number in range(3):
        lake.replace(TEACHER_ANSWERS, _answers("a", number + 1), **CELL)
    old = DeltaTable(lake.address(TEACHER_ANSWERS), version=_version(lake) - 1)
    assert [each.deleted_files for each in lake.maintain(files=1)] == [0]
    assert pl.scan_delta(old).collect().height == 2


def test_files_of_a_writer_that_was_killed_go_after_a_week(tmp_path: Path) -> None:
    lake = Lake(tmp_path / "lake")
    lake.append(EMBEDDINGS, pl.DataFrame([["local@1/2", "a", [1.0]]], EMBEDDINGS.schema, orient="row"))
    lake.append(TEACHER_ANSWERS, _answers("a", 3))
    (committed,) = (tmp_path / "lake" / "embeddings").glob("*/*.parquet")
    never, half = committed.with_name("part-never.parquet"), committed.parent.parent / "half.parquet.tmp"
    for file in (never, half):
        file.write_bytes(b"x" * 2**20)
    assert sum(each.deleted_files for each in lake.maintain()) == 0  # its writer may still be working
    for file in (never, half, committed):
        os.utime(file, (time.time() - 8 * 86400,) * 2)
    done = {each.table: each for each in lake.maintain()}
    assert done["embeddings"].deleted_files == 2 and done["embeddings"].freed_bytes == 2 * 2**20
    assert committed.is_file() and lake.scan(EMBEDDINGS).collect().height == 1


def test_partitions_of_the_ledger_that_another_process_merges_are_left_to_it(tmp_path: Path) -> None:
    lake = Lake(tmp_path / "lake")
    row = {name: None if kind == pl.String else 0 for name, kind in COMPLETIONS.columns.items()}
    for model, _ in product(("judge", "student", "teacher"), range(3)):
        texts = {name: "x" for name, value in row.items() if value is None} | {"model": model}
        lake.append(COMPLETIONS, pl.DataFrame([row | texts | {"created_at": datetime.now(UTC), "permanent": False}]))
    with lake._claimed(COMPLETIONS, {"model": "teacher"}) as ours:  # as publishing does
        assert ours
        done = {each.table: each for each in lake.maintain(files=2)}
    assert done["completions"].merged_partitions == 2
    assert len(DeltaTable(lake.address(COMPLETIONS)).file_uris()) == 5
    assert lake.scan(COMPLETIONS).collect().height == 9


@pytest.mark.parametrize(("days", "free"), [(3650, True), (-2, True), (-0.5, False), (0.01, False)])
def test_a_claim_counts_for_a_day_and_not_when_its_date_is_far_ahead(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, days: float, free: bool
) -> None:
    class Clock(datetime):
        shift = timedelta(days=days)

        @classmethod
        def now(cls, tz: object = None) -> datetime:  # type: ignore[override]
            return datetime.now(UTC) + cls.shift

    address = str(tmp_path / "claims")
    monkeypatch.setattr("openthoughts_dagster.lake.claims.datetime", Clock)
    left = claim(address, {}, "sweep")
    assert left.__enter__()  # of a process that died, on a machine with that clock
    Clock.shift = timedelta()
    with claim(address, {}, "sweep") as ours:
        assert ours is free
