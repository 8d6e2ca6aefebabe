"""Delta tables under one root: lazy scans, appends, and whole-partition replacement, each one atomic commit."""

import random
import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import chain
from pathlib import Path
from typing import Any

import polars as pl
from arro3.core import RecordBatchReader, Schema
from arro3.core import Table as ArrowTable
from deltalake import DeltaTable, write_deltalake
from deltalake.exceptions import CommitFailedError, DeltaError, TableNotFoundError

from openthoughts_dagster.lake.claims import claim
from openthoughts_dagster.lake.credentials import without_credentials
from openthoughts_dagster.lake.schemas import COMPLETIONS, TEACHER_ANSWERS, Table

_ATTEMPTS = 20
_COLOUR = re.compile(r"\x1b\[\d+m")


class LakeError(RuntimeError):
    """A table that cannot be read or written, with its address and what to do."""


class SchemaError(ValueError):
    """Rows that do not fit their table, naming the table, the columns and what is wrong."""


class Lake:
    """The tables of one deployment.

    `root` is a folder or an object store address such as s3://bucket/lake; `options` are the object store's
    options as deltalake names them. Every table exists as soon as something was written; scans of a table that
    does not exist yet are empty.
    """

    def __init__(self, root: str | Path, options: Mapping[str, str] | None = None) -> None:
        self.root = str(root).rstrip("/")
        self.options = dict(options or {})

    def address(self, table: Table) -> str:
        """Where the table is."""
        return f"{self.root}/{table.name}"

    def scan(self, table: Table, **partition: str) -> pl.LazyFrame:
        """Rows of `table`, of one partition when columns and values are given: `scan(RAW_SOURCES, source="gsm8k")`."""
        if (delta := self._open(table)) is None:
            return pl.LazyFrame(schema=table.schema)
        frame = pl.scan_delta(delta, storage_options=self.options or None)
        for column, value in partition.items():
            frame = frame.filter(pl.col(column) == value)
        return frame.select(list(table.columns))

    def answers(self, **partition: str) -> pl.LazyFrame:
        """The teachers' answers that the current recipe reads, joined with their texts.

        `teacher_answers` names one completion of the ledger for every question and sample, so that publishing a
        million answers copies no text; this is the one scan that joins them. Columns of both tables.
        """
        chosen = self.scan(TEACHER_ANSWERS, **partition)
        # The ledger is laid out by model: the texts of other models are not opened.
        models = chosen.select(pl.col("model").unique()).collect()["model"].implode()
        texts = self.scan(COMPLETIONS).filter(pl.col("model").is_in(models)).drop("model", "key", "content", "source")
        return chosen.join(texts, on=["completion_id", "sample_index"], how="inner")

    def compact(self, table: Table, files: int = 50, **partition: str) -> bool:
        """Merge the small files of one partition when there are more than `files`; rows stay what they are.

        For tables whose rows are only ever added to. Merged files stay on disk for a week, for readers that have the
        old version open. True when it was done; False also when another process is at it.
        """
        filters = [(column, "=", value) for column, value in partition.items()] or None
        if not self._more_files(table, filters, files):
            return False
        work = "/".join([table.name, *partition.values()]).replace("'", "")
        try:
            with claim(f"{self.root}/claims", self.options, f"compact {work}") as ours:
                # Looked at once more: another process may have merged them before the claim.
                if not ours or (delta := self._more_files(table, filters, files)) is None:
                    return False
                delta.optimize.compact(partition_filters=filters, max_concurrent_tasks=1)
                delta.vacuum(retention_hours=168, dry_run=False)
        except (DeltaError, OSError) as error:
            raise self._error(table, "could not be compacted", error) from None
        return True

    def _more_files(self, table: Table, filters: Any, files: int) -> DeltaTable | None:
        """The table as it is now, when the partition has more than so many files."""
        delta = self._open(table)
        return None if delta is None or len(delta.file_uris(file_pruning_predicate=filters)) <= files else delta

    def append(self, table: Table, rows: pl.DataFrame) -> None:
        """Add rows in one commit. Raises SchemaError before anything is written."""
        rows = conform(table, rows)
        if rows.is_empty():
            return
        self._commit(table, rows.height, lambda: self._write(table, rows))

    def replace(self, table: Table, rows: pl.DataFrame, **partition: str) -> None:
        """Make `rows` the whole content of one partition, in one commit: readers see the old rows or the new.

        Without a partition they become the whole table.
        Raises SchemaError before anything is written, also when a row belongs to another partition.
        """
        rows = _of_partition(table, conform(table, rows), partition)
        predicate = _predicate(partition)

        def write() -> None:
            if rows.is_empty():
                self._clear(table, predicate)
            else:
                self._overwrite(table, rows, predicate or None)

        self._commit(table, rows.height, write)

    def replace_batches(self, table: Table, batches: Callable[[], Iterable[pl.DataFrame]], **partition: str) -> int:
        """`replace` with rows that come in batches, in memory for a few of them; returns how many rows there were.

        `batches` gives them from the start each time it is called: once, or again where another writer was first.
        Raises SchemaError as `replace` does; then, and when `batches` raises, nothing was written.
        """
        predicate, written = _predicate(partition), _Batches(table, partition)

        def write() -> None:
            written.restart()
            rows = (written.checked(batch) for batch in batches() if batch.height)
            first = next(rows, None)
            if first is None:
                return self._clear(table, predicate)
            reader = RecordBatchReader.from_batches(_arrow_schema(first), written.arrow(chain([first], rows)))
            try:
                return self._overwrite(table, reader, predicate or None)
            except Exception:
                if written.error is not None:  # the writer knows it as text only
                    raise written.error from None
                raise

        self._commit(table, None, write)
        return written.rows

    def _write(self, table: Table, rows: Any) -> None:
        write_deltalake(
            self.address(table),
            rows,
            mode="append",
            partition_by=list(table.partition_by) or None,
            storage_options=self.options,
        )

    def _overwrite(self, table: Table, rows: Any, predicate: str | None) -> None:
        if (delta := self._open(table)) is None:
            # Empty first: two writers of a table's first rows are never told of each other, those of an overwrite are.
            delta = DeltaTable.create(
                self.address(table),
                _arrow_schema(table.schema.to_frame()),
                mode="ignore",
                partition_by=list(table.partition_by) or None,
                storage_options=self.options,
            )
        # Without a predicate an overwrite is not told of another one that was first.
        return write_deltalake(delta, rows, mode="overwrite", predicate=predicate or "true")

    def _open(self, table: Table) -> DeltaTable | None:
        """The table as it is now; None before its first commit."""
        # Not is_deltatable: it holds the interpreter's lock while it waits for the store.
        try:
            return DeltaTable(self.address(table), storage_options=self.options)
        except TableNotFoundError:
            return None
        except (DeltaError, OSError) as error:
            raise self._error(table, "could not be read", error) from None

    def _clear(self, table: Table, predicate: str) -> None:
        if (delta := self._open(table)) is not None:
            delta.delete(predicate or None)

    def _commit(self, table: Table, rows: int | None, write: Callable[[], None]) -> None:
        """Write, again when another writer was first: Delta's commits are optimistic."""
        for attempt in range(_ATTEMPTS):
            try:
                return write()
            except CommitFailedError as error:
                if attempt == _ATTEMPTS - 1:
                    raise self._error(table, f"other writers were first {_ATTEMPTS} times in a row", error) from None
                time.sleep(random.uniform(0, min(2.0, 0.05 * 2**attempt)))
            except (DeltaError, OSError) as error:
                says = f"could not write {'the' if rows is None else rows} rows"
                raise self._error(table, says, error) from None
        return None

    def _error(self, table: Table, says: str, error: Exception) -> LakeError:
        """What went wrong and what to do. The store's own message may repeat keys, and goes no further as a cause."""
        remedy = "Check that OPENTHOUGHTS_LAKE is right, readable and writable and has space"
        if "://" in self.root:
            remedy += ", with credentials in AWS_* variables or by workload identity"
        if "scheme is not allowed" in str(error):
            remedy = "The store's address is http, not https: set AWS_ALLOW_HTTP=true if that is meant"
        reason = " ".join(_COLOUR.sub("", str(error)).split()).rstrip(".")
        says = f"{self.address(table)}: {says}: {reason}. {remedy}; what was committed before is intact"
        return LakeError(without_credentials(says))


class _Batches:
    """Batches on their way to the writer: checked, counted, and their own error kept."""

    def __init__(self, table: Table, partition: Mapping[str, str]) -> None:
        self._table, self._partition = table, partition
        self.rows = 0
        self.error: BaseException | None = None

    def restart(self) -> None:
        self.rows, self.error = 0, None

    def checked(self, batch: pl.DataFrame) -> pl.DataFrame:
        self.rows += batch.height
        return _of_partition(self._table, conform(self._table, batch), self._partition)

    def arrow(self, batches: Iterable[pl.DataFrame]) -> Iterator[Any]:
        try:
            for batch in batches:
                yield from ArrowTable.from_arrow(batch).to_batches()
        except BaseException as error:
            self.error = error
            raise


def _arrow_schema(rows: pl.DataFrame) -> Schema:
    return ArrowTable.from_arrow(rows).schema


def _of_partition(table: Table, rows: pl.DataFrame, partition: Mapping[str, str]) -> pl.DataFrame:
    for column, value in partition.items():
        if not rows.is_empty() and (rows[column] != value).any():
            raise SchemaError(f"{table.name}: replacing {column}={value!r} with rows of another {column}")
    return rows


def _predicate(partition: Mapping[str, str]) -> str:
    return " AND ".join(f"{column} = '{_quoted(value)}'" for column, value in partition.items())


def conform(table: Table, rows: pl.DataFrame) -> pl.DataFrame:
    """`rows` with exactly the table's columns and types. Raises SchemaError listing every misfit."""
    missing = [column for column in table.columns if column not in rows.columns]
    extra = [column for column in rows.columns if column not in table.columns]
    problems = [f"column {column} is missing" for column in missing] + [f"column {c} is not expected" for c in extra]
    problems += [
        f"column {column} is {rows.schema[column]}, expected {kind}"
        for column, kind in table.schema.items()
        if column in rows.columns and not _fits(rows.schema[column], kind)
    ]
    problems += [
        f"column {column} has {count} nulls of {rows.height}"
        for column in table.columns
        if column in rows.columns and column not in table.nullable and (count := rows[column].null_count())
    ]
    if problems:
        raise SchemaError(f"rows do not fit the table {table.name}: " + "; ".join(problems))
    return rows.select(pl.col(column).cast(kind) for column, kind in table.columns.items())


def _fits(actual: pl.DataType, expected: pl.DataType) -> bool:
    """Equal types, other integer widths, whole numbers for floats, other time units, and all-null columns."""
    return (
        actual == expected
        or actual == pl.Null
        or (actual.is_integer() and expected.is_numeric())
        or (actual.is_temporal() and expected.is_temporal())
    )


def _quoted(value: str) -> str:
    return value.replace("'", "''")
