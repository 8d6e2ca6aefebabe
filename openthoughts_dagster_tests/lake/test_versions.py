"""Tables of older code get the columns that were added since; what this code would misread is refused by name."""

import multiprocessing
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from deltalake import DeltaTable, write_deltalake

from openthoughts_dagster.lake import Column, Lake, LakeError, Table
from openthoughts_dagster.lake.versions import recorded_version

OLD = Table(
    "things",
    "Things that tests write.",
    {
        "source": Column(pl.String, "Where it is from"),
        "name": Column(pl.String, "What it is called"),
        "size": Column(pl.Int64, "Its size in metres"),
    },
    ("source",),
)
NEW = replace(
    OLD,
    definition={
        **OLD.definition,
        "colour": Column(pl.String, "Its colour; null where nobody looked", nullable=True, since=2),
        "domain": Column(pl.String, "Its domain", default="all", since=2),
        "parts": Column(pl.List(pl.Float32), "Sizes of its parts in metres", nullable=True, since=3),
    },
)
CHANGED = replace(NEW, compatible_since=4)

Write = Callable[[Lake, Table, pl.DataFrame], Any]
WRITES: dict[str, Write] = {
    "append": lambda lake, table, rows: lake.append(table, rows),
    "replace": lambda lake, table, rows: lake.replace(table, rows, source="a"),
    "replace all": lambda lake, table, rows: lake.replace(table, rows),
    "replace by another column": lambda lake, table, rows: lake.replace(table, rows, name="new"),
    "replace in batches": lambda lake, table, rows: lake.replace_batches(table, lambda: [rows], source="a"),
}


@pytest.fixture(params=["folder", "store"])
def lake(request: pytest.FixtureRequest, tmp_path: Path) -> Lake:
    """An empty lake on disk, and one in an object store."""
    if request.param == "folder":
        return Lake(tmp_path / "lake")
    request.getfixturevalue("store")
    return Lake("s3://lake/tables")


def _old(*names: str, source: str = "a") -> pl.DataFrame:
    return pl.DataFrame({"source": source, "name": names, "size": 1}, schema=OLD.schema)


def _new(*names: str) -> pl.DataFrame:
    more = pl.lit(None, pl.List(pl.Float32)).alias("parts")
    return _old(*names).with_columns(more, colour=pl.lit("red"), domain=pl.lit("math"))


def _as_before_versions(lake: Lake) -> None:
    """Rows in a table that has no version, as code before there were versions wrote it."""
    for source in ("a", "b"):
        rows = _old("old", source=source).to_arrow()
        write_deltalake(lake.address(OLD), rows, mode="append", partition_by=["source"])


def _rows(lake: Lake, table: Table = NEW) -> list[tuple[Any, ...]]:
    names = [name for name in ("source", "name", "colour", "domain") if name in table.columns]
    return sorted(lake.scan(table).select(names).collect().rows())


def test_a_table_of_older_code_is_read_with_later_columns_and_not_written(lake: Lake) -> None:
    _as_before_versions(lake)
    assert _rows(lake) == [("a", "old", None, "all"), ("b", "old", None, "all")]
    assert lake.scan(NEW, source="a").collect().schema == NEW.schema
    assert lake.scan(NEW).filter(pl.col("domain") == "all", pl.col("colour").is_null()).collect().height == 2
    assert DeltaTable(lake.address(NEW)).version() == 1


@pytest.mark.parametrize("write", WRITES.values(), ids=WRITES)
def test_every_write_gives_a_table_of_older_code_its_later_columns(lake: Lake, write: Write) -> None:
    _as_before_versions(lake)
    write(lake, NEW, _new("new"))
    kept = {
        "append": [("a", "old", None, "all"), ("b", "old", None, "all")],
        "replace": [("b", "old", None, "all")],
        "replace all": [],
        "replace by another column": [("a", "old", None, "all"), ("b", "old", None, "all")],
        "replace in batches": [("b", "old", None, "all")],
    }[next(name for name, other in WRITES.items() if other is write)]
    assert _rows(lake) == sorted([("a", "new", "red", "math"), *kept])
    write(lake, NEW, _new("new"))  # and again, now that it has them
    assert _rows(lake).count(("a", "new", "red", "math")) == (2 if write is WRITES["append"] else 1)
    assert recorded_version(DeltaTable(lake.address(NEW))) == 3


@pytest.mark.parametrize("write", WRITES.values(), ids=WRITES)
def test_older_code_reads_and_writes_a_table_to_which_newer_code_only_added_columns(lake: Lake, write: Write) -> None:
    lake.append(NEW, _new("newer"))
    assert _rows(lake, OLD) == [("a", "newer")]
    write(lake, OLD, _old("new"))
    assert ("a", "new", None, "all") in _rows(lake)
    assert recorded_version(DeltaTable(lake.address(NEW))) == 3


def test_rows_may_leave_out_what_has_a_default(lake: Lake) -> None:
    lake.append(NEW, _new("new").drop("domain"))
    assert _rows(lake) == [("a", "new", "red", "all")]


def test_small_files_from_before_and_after_a_column_was_added_are_merged(lake: Lake) -> None:
    _as_before_versions(lake)
    lake.append(NEW, _new("new"))
    before = _rows(lake)
    assert lake.compact(NEW, files=1, source="a")
    assert _rows(lake) == before


def test_a_table_that_newer_code_changed_otherwise_is_refused(lake: Lake) -> None:
    lake.append(CHANGED, _new("new"))
    for use in (lambda: lake.scan(NEW), *(lambda w=w: w(lake, NEW, _new("new")) for w in WRITES.values())):
        with pytest.raises(LakeError, match=r"things: .*version 4.*this code has version 3.*Upgrade this process"):
            use()
    assert _rows(lake, CHANGED) == [("a", "new", "red", "math")]


def test_a_table_from_before_an_incompatible_change_is_refused(lake: Lake) -> None:
    _as_before_versions(lake)
    with pytest.raises(LakeError, match=r"it has version 1, and this code reads version 4 or newer.*release notes"):
        lake.scan(CHANGED)


@pytest.mark.parametrize(
    ("rows", "partition", "says"),
    [
        (_old("x").drop("size"), "source", "its column size is gone"),
        (_old("x").cast({"size": pl.String}), "source", "its column size is string, expected long"),
        (_old("x"), "name", "it is partitioned by name, expected source"),
    ],
)
def test_a_table_that_another_tool_changed_is_refused_with_table_column_and_remedy(
    lake: Lake, rows: pl.DataFrame, partition: str, says: str
) -> None:
    write_deltalake(lake.address(OLD), rows.to_arrow(), partition_by=[partition])
    for use in (lambda: lake.scan(NEW), *(lambda w=w: w(lake, NEW, _new("new")) for w in WRITES.values())):
        with pytest.raises(LakeError) as caught:
            use()
        assert says in str(caught.value) and "has space" not in str(caught.value)
        assert lake.address(OLD) in str(caught.value) and "restore the version before" in str(caught.value)


def test_a_later_column_without_a_value_for_old_rows_cannot_be_declared() -> None:
    with pytest.raises(ValueError, match="nullable or has a default"):
        Column(pl.String, "Its colour", since=2)


def _grow(root: str, number: int, write: str, start: Any, results: Any) -> None:
    start.wait(60)
    try:
        WRITES[write](Lake(root), NEW, _new(f"new {number}"))
        results.put("written")
    except Exception as error:
        results.put(repr(error))


@pytest.mark.parametrize(
    ("lake", "write", "rows"), [("folder", "append", 2 + 2), ("store", "replace", 1 + 1)], indirect=["lake"]
)
def test_processes_that_add_the_same_columns_at_once_all_write(lake: Lake, write: str, rows: int) -> None:
    _as_before_versions(lake)
    spawn = multiprocessing.get_context("spawn")
    start, results = spawn.Barrier(2), spawn.Queue()
    processes = [spawn.Process(target=_grow, args=(lake.root, n, write, start, results)) for n in range(2)]
    for process in processes:
        process.start()
    assert [results.get(timeout=60) for _ in processes] == ["written"] * 2
    for process in processes:
        process.join()
    assert len(_rows(lake)) == rows
    fields = [field.name for field in DeltaTable(lake.address(NEW)).schema().fields]
    assert sorted(fields) == sorted(NEW.columns)
