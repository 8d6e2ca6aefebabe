"""Several processes work on one table at the same moment: no row is lost, and none is there twice."""

import multiprocessing
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from openthoughts_dagster.lake import GENERATION_COSTS, TEACHER_ANSWERS, WATCHED_SOURCES, Lake, Table

PROCESSES, ROWS, ROUNDS = 4, 12, 6  # one round may miss the moment
CELL = {"source": "s", "teacher": "t"}


def _rows(table: Table, count: int) -> pl.DataFrame:
    """Rows whose every value is the row's number, in the cell where the table has cells."""
    rows = [{name: n if kind.is_numeric() else str(n) for name, kind in table.schema.items()} for n in range(count)]
    cell = {name: value for name, value in CELL.items() if name in table.partition_by}
    days = [pl.lit(None, pl.Date).alias("day")] if "day" in table.columns else []
    frame = pl.DataFrame([row | cell for row in rows])
    return frame.with_columns(*days).fill_null(pl.date(2026, 1, 1))


def _compact(lake: Lake) -> bool:
    return lake.compact(WATCHED_SOURCES, files=3)


def _replace_cell(lake: Lake) -> None:
    lake.replace(TEACHER_ANSWERS, _rows(TEACHER_ANSWERS, ROWS), **CELL)


def _replace_batches(lake: Lake) -> None:
    rows = _rows(TEACHER_ANSWERS, ROWS)
    lake.replace_batches(TEACHER_ANSWERS, lambda: iter([rows.head(5), rows.tail(-5)]), **CELL)


def _replace_table(lake: Lake) -> None:
    lake.replace(GENERATION_COSTS, _rows(GENERATION_COSTS, ROWS))


def _process(root: str, work: Callable[[Lake], Any], start: Any, results: Any) -> None:
    for number in range(ROUNDS):
        start.wait(120)
        try:
            results.put((number, work(Lake(f"{root}/{number}"))))
        except Exception as error:
            results.put((number, repr(error)))


def _at_once(root: Path, work: Callable[[Lake], Any]) -> list[list[Any]]:
    """What `work` gave in each process, for a lake of its own in each round."""
    spawn = multiprocessing.get_context("spawn")
    start, results = spawn.Barrier(PROCESSES), spawn.Queue()
    processes = [spawn.Process(target=_process, args=(str(root), work, start, results)) for _ in range(PROCESSES)]
    for process in processes:
        process.start()
    done = [results.get(timeout=120) for _ in range(ROUNDS * PROCESSES)]
    for process in processes:
        process.join()
    return [[result for number, result in done if number == wanted] for wanted in range(ROUNDS)]


def test_compactions_double_no_row(tmp_path: Path) -> None:
    """Two that deltalake itself lets through leave every row twice, which is a bill twice and an answer twice."""
    lakes = [Lake(tmp_path / str(number)) for number in range(ROUNDS)]
    for lake in lakes:
        for number in range(ROWS):
            lake.append(WATCHED_SOURCES, _rows(WATCHED_SOURCES, ROWS)[number])

    done = _at_once(tmp_path, _compact)

    for lake, results in zip(lakes, done, strict=True):
        assert sorted(lake.scan(WATCHED_SOURCES).collect()["number"]) == list(range(ROWS))
        assert sorted(map(str, results)) == ["False"] * (PROCESSES - 1) + ["True"]


@pytest.mark.parametrize(
    ("work", "table"),
    [(_replace_cell, TEACHER_ANSWERS), (_replace_batches, TEACHER_ANSWERS), (_replace_table, GENERATION_COSTS)],
)
def test_first_replacements_of_a_table_are_one_replacement(
    tmp_path: Path, work: Callable[[Lake], Any], table: Table
) -> None:
    """Where no table is yet, all of them find none."""
    assert _at_once(tmp_path, work) == [[None] * PROCESSES] * ROUNDS
    heights = [Lake(tmp_path / str(number)).scan(table).collect().height for number in range(ROUNDS)]
    assert heights == [ROWS] * ROUNDS
