"""Checks rows against a table's columns before anything is written, and compares rows by content."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import polars as pl
from arro3.core import Schema
from arro3.core import Table as ArrowTable

from openthoughts_dagster.lake.errors import SchemaError
from openthoughts_dagster.lake.table import Table

Batches = Callable[[], Iterable[pl.DataFrame]]


def conform(table: Table, rows: pl.DataFrame) -> pl.DataFrame:
    """Give rows exactly the columns and types of a table.

    Args:
        table: Where the rows are to be written.
        rows: The rows, their columns in any order. Columns with a default may be left out.

    Returns:
        The rows with the table's columns in its order. Whole numbers become the table's width, and nothing else is
        converted.

    Raises:
        SchemaError: Lists every column that is missing, not expected, of another type, or null where it must not be.
    """
    absent = [column for column in table.columns if column not in rows.columns]
    missing = [column for column in absent if column not in table.defaults]
    extra = [column for column in rows.columns if column not in table.columns]
    problems = [f"column {column} is missing" for column in missing] + [f"column {c} is not expected" for c in extra]
    problems += [
        f"column {column} is {rows.schema[column]}, expected {kind}"
        for column, kind in table.schema.items()
        if column in rows.columns and not _is_convertible(rows.schema[column], kind)
    ]
    problems += [
        f"column {column} has {count} nulls of {rows.height}"
        for column in table.columns
        if column in rows.columns and column not in table.nullable and (count := rows[column].null_count())
    ]
    if problems:
        raise SchemaError(f"rows do not fit the table {table.name}: " + "; ".join(problems))
    rows = rows.with_columns(pl.lit(table.defaults[column]).alias(column) for column in absent)
    return rows.select(pl.col(column).cast(kind) for column, kind in table.columns.items())


def rows_of_partition(table: Table, rows: pl.DataFrame, partition: Mapping[str, str]) -> pl.DataFrame:
    """Do what `conform` does for rows that replace one partition; rows of another one raise SchemaError too."""
    rows = conform(table, rows)
    for column, value in partition.items():
        if not rows.is_empty() and (rows[column] != value).any():
            raise SchemaError(f"{table.name}: replacing {column}={value!r} with rows of another {column}")
    return rows


def content_sum(batches: Iterable[pl.DataFrame]) -> tuple[int, int, int]:
    """Return the number of rows and two independent sums of their hashes, which are equal for equal rows in any order.

    Use it only to compare rows within one process: other versions of Polars give other hashes.
    """
    count, first, second = 0, 0, 0
    for rows in batches:
        count += rows.height
        first += int(rows.hash_rows(seed=1).to_numpy().sum())
        second += int(rows.hash_rows(seed=2).to_numpy().sum())
    return count, first % 2**64, second % 2**64


def arrow_schema(rows: pl.DataFrame) -> Schema:
    """Return the Arrow schema of rows in the form that deltalake takes."""
    return ArrowTable.from_arrow(rows).schema


class CheckedBatches:
    """Checks and counts batches, and keeps the error that they raised.

    deltalake passes on an error of the batches only as text, so the original is kept in `error`.
    """

    def __init__(self, table: Table, batches: Batches, partition: Mapping[str, str]) -> None:
        self._table, self._batches, self._partition = table, batches, partition
        self.rows = 0
        self.error: BaseException | None = None

    def __iter__(self) -> Iterator[pl.DataFrame]:
        """Iterate from the start over the batches that have rows."""
        self.rows, self.error = 0, None
        try:
            for batch in self._batches():
                if batch.height:
                    self.rows += batch.height
                    yield rows_of_partition(self._table, batch, self._partition)
        except GeneratorExit:
            raise
        except BaseException as error:
            self.error = error
            raise


def as_arrow(batches: Iterable[pl.DataFrame]) -> Iterator[Any]:
    """Convert rows to Arrow record batches, which deltalake takes."""
    for batch in batches:
        yield from ArrowTable.from_arrow(batch).to_batches()


def _is_convertible(actual: pl.DataType, expected: pl.DataType) -> bool:
    """Accept equal types, other integer widths, integers for floats, other time units, and all-null columns."""
    return (
        actual == expected
        or actual == pl.Null
        or (actual.is_integer() and expected.is_numeric())
        or (actual.is_temporal() and expected.is_temporal())
    )
