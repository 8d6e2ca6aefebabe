"""Delta tables under one root: appends and replacements of whole partitions, each in one atomic commit."""

import json
import random
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from itertools import chain
from typing import Any

import polars as pl
from arro3.core import RecordBatchReader
from deltalake import DeltaTable
from deltalake.exceptions import CommitFailedError, DeltaError

from openthoughts_dagster.lake.claims import claim
from openthoughts_dagster.lake.errors import table_error
from openthoughts_dagster.lake.maintenance import (
    RETENTION_HOURS,
    Maintenance,
    crowded_partitions,
    delete_old_files,
    merge_files,
)
from openthoughts_dagster.lake.reading import LakeReader
from openthoughts_dagster.lake.release_tables import KEPT_FOR_RELEASES, RELEASE_VERSIONS
from openthoughts_dagster.lake.rows import (
    Batches,
    CheckedBatches,
    arrow_schema,
    as_arrow,
    conform,
    content_sum,
    rows_of_partition,
)
from openthoughts_dagster.lake.schemas import TABLES
from openthoughts_dagster.lake.table import Table
from openthoughts_dagster.lake.versions import add_columns, create_table, write_rows

_ATTEMPTS = 20


class Lake(LakeReader):
    """The tables of one deployment, in a folder or in an object store.

    The first write creates a table; a scan of a table that does not exist yet is empty. Columns that a table of an
    older version lacks are filled in when it is read, and added to it by the next write.

    Args:
        root: A folder, or an address such as s3://bucket/lake.
        options: Options of the object store, as deltalake names them; by default its AWS_* variables.

    Example:
        >>> lake = Lake("data/lake")
        >>> lake.scan(RAW_SOURCES, source="gsm8k").select("question").head(3).collect()
    """

    def append(self, table: Table, rows: pl.DataFrame) -> None:
        """Add rows in one commit.

        Args:
            table: Where they are added.
            rows: The rows with all columns; those that have a default may be left out.

        Raises:
            SchemaError: The rows do not fit the table; nothing was written.
            LakeError: The table cannot be written, or this code would misread it.

        Example:
            >>> row = {"encoder": "e", "text": "c0ffee", "vector": [0.6, 0.8]}
            >>> lake.append(EMBEDDINGS, pl.DataFrame([row], schema=EMBEDDINGS.schema))
        """
        rows = conform(table, rows)
        if rows.is_empty():
            return
        self._commit(table, rows.height, lambda: self._write(table, rows, mode="append"))

    def replace(self, table: Table, rows: pl.DataFrame, **partition: str) -> None:
        """Replace the content of one partition in one commit: readers see either the old rows or the new ones.

        Nothing is written when the partition consists of the same rows already, in whatever order.

        Args:
            table: Where they are written.
            rows: The rows with all columns; those that have a default may be left out.
            **partition: Columns and values of the partition. Without them the rows become the whole table.

        Raises:
            SchemaError: The rows do not fit the table, or a row belongs to another partition; nothing was written.
            LakeError: The table cannot be written, or this code would misread it.

        Example:
            >>> lake.replace(TEACHER_ANSWERS, answers, source="gsm8k", teacher="qwq-32b")
        """
        rows = rows_of_partition(table, rows, partition)

        def write() -> None:
            if rows.is_empty():
                self._clear(table, partition)
            elif not self._has(table, partition, lambda: [rows]):
                self._write(table, rows, mode="overwrite", predicate=_make_predicate(partition))

        self._commit(table, rows.height, write)

    def update(self, table: Table, change: Callable[[pl.DataFrame], pl.DataFrame], **partition: str) -> None:
        """Replace the rows of one partition by what a function makes of them, so that no other writer's row is lost.

        Args:
            table: Where they are.
            change: Returns the new rows, at least one. It gets the present ones, again if another writer was first.
            **partition: Columns and values of the partition.

        Raises:
            SchemaError: As in `replace`.
            LakeError: The table cannot be read or written, or this code would misread it.

        Example:
            >>> lake.update(STUDY_VERSIONS, lambda known: pl.concat([known, version]), study="sizes")
        """

        def write() -> None:
            delta = self._open_to_write(table)
            there = self.at({table.name: delta.version()}).scan(table, **partition).collect()
            rows = rows_of_partition(table, change(there), partition)
            if content_sum([rows]) != content_sum([there]):
                write_rows(delta, table, rows, mode="overwrite", predicate=_make_predicate(partition))

        self._commit(table, None, write)

    def replace_batches(self, table: Table, batches: Batches, **partition: str) -> int:
        """Do what `replace` does with rows that come in batches; only a few batches are in memory at once.

        Args:
            table: Where they are written.
            batches: Returns an iterator over all batches each time it is called. It is called twice when the partition
                has rows, first to compare them, and again when another writer committed first.
            **partition: Columns and values of the partition. Without them the rows become the whole table.

        Returns:
            The number of rows.

        Raises:
            SchemaError: As in `replace`. Nothing was written, neither then nor when `batches` raises.
            LakeError: The table cannot be written, or this code would misread it.

        Example:
            >>> lake.replace_batches(RAW_SOURCES, lambda: read_batches(files), source="gsm8k")
        """
        checked = CheckedBatches(table, batches, partition)

        def write() -> None:
            if self._has(table, partition, lambda: checked):
                return None
            rows = iter(checked)
            if (first := next(rows, None)) is None:
                return self._clear(table, partition)
            reader = RecordBatchReader.from_batches(arrow_schema(first), as_arrow(chain([first], rows)))
            return self._write(table, reader, mode="overwrite", predicate=_make_predicate(partition))

        try:
            self._commit(table, None, write)
        except Exception:
            if checked.error is not None:  # an OSError, too, is that of the batches, and not the table's
                raise checked.error from None
            raise
        return checked.rows

    def compact(self, table: Table, files: int = 50, **partition: str) -> bool:
        """Merge the small files of one partition without changing its rows.

        The old files are kept for a week, for readers that have the old version open.

        Args:
            table: A table whose rows are only ever added to, such as `completions`.
            files: Nothing is done when the partition has at most this many files.
            **partition: Columns and values of the partition.

        Returns:
            Whether files were merged. It is False when another process is merging them.

        Raises:
            LakeError: The table cannot be read or written.
        """
        if not self._is_crowded(table, files, partition):
            return False
        return self._merge(table, files, partition, delete_old=True)

    def maintain(self, files: int = 50, retention_hours: int = RETENTION_HOURS) -> list[Maintenance]:
        """Merge the small files of every table, and delete files that no reader needs any more.

        It is safe while others read and write: a partition that is written meanwhile is left for the next time.

        Args:
            files: Partitions with at most this many files are left alone.
            retention_hours: Hours for which replaced files are kept. A reader or writer that takes longer fails.
                Files of versions that a release was made from are kept as long as Delta's log has these versions.

        Returns:
            One entry for each table that exists.

        Raises:
            LakeError: A table cannot be read or written. The tables before it were maintained.
        """
        done = []
        for table in TABLES.values():
            if (delta := self._open(table)) is None:
                continue
            merged = sum(self._merge(table, files, partition) for partition in crowded_partitions(delta, files))
            fresh = self._open(table) or delta
            done.append(Maintenance(table.name, merged, *self._delete_old_files(table, fresh, retention_hours)))
        self._maintain_claims(retention_hours)
        return done

    def _merge(self, table: Table, files: int, partition: Mapping[str, str], delete_old: bool = False) -> bool:
        """Merge the files of one partition unless another process does; return whether this one did."""
        with self._claimed(table, partition) as ours:
            # Check again: another process may have merged the files before this one had the claim.
            if not ours or (delta := self._is_crowded(table, files, partition)) is None:
                return False
            merged = merge_files(delta, partition)
            if delete_old:
                delete_old_files(delta)
        return merged

    def _delete_old_files(self, table: Table, delta: DeltaTable, hours: int) -> tuple[int, int | None]:
        try:
            return delete_old_files(delta, hours, self._released_versions(table))
        except CommitFailedError:  # another process does the same
            return 0, 0
        except (DeltaError, OSError) as error:
            raise table_error(self.address(table), "its old files could not be deleted", error) from None

    def _released_versions(self, table: Table) -> list[int]:
        """Return the versions of a table that releases were made from, as far as Delta's log still has them."""
        if table.name not in KEPT_FOR_RELEASES:
            return []
        records = self.scan(RELEASE_VERSIONS).select("record").unique().collect()["record"]
        found = {json.loads(record)["tables"].get(table.name) for record in records}
        return sorted(number for number in found if number is not None and self._has_version(table, number))

    def _has_version(self, table: Table, number: int) -> bool:
        try:
            DeltaTable(self.address(table), version=number, storage_options=self.options)
        except DeltaError:
            return False
        return True

    def _maintain_claims(self, hours: int) -> None:
        """Delete the old files of the table of claims, which gets two commits for each claim."""
        with suppress(DeltaError, OSError):  # another process claims something just now
            delete_old_files(DeltaTable(f"{self.root}/claims", storage_options=self.options), hours)

    def _is_crowded(self, table: Table, files: int, partition: Mapping[str, str]) -> DeltaTable | None:
        """Open the table if the partition has more than `files` files; return None otherwise."""
        delta = self._open(table)
        filters = [(column, "=", value) for column, value in partition.items()] or None
        return None if delta is None or len(delta.file_uris(file_pruning_predicate=filters)) <= files else delta

    @contextmanager
    def _claimed(self, table: Table, partition: Mapping[str, str]) -> Iterator[bool]:
        """Claim the merging of a table's files; the value is False when another process holds the claim."""
        work = "/".join([table.name, *partition.values()]).replace("'", "")
        try:
            with claim(f"{self.root}/claims", self.options, f"compact {work}") as ours:
                yield ours
        except (DeltaError, OSError) as error:
            raise table_error(self.address(table), "could not be compacted", error) from None

    def _has(self, table: Table, partition: Mapping[str, str], batches: Batches) -> bool:
        """Return whether the partition consists of these rows already."""
        there = self.scan(table, **partition)
        if not (count := there.select(pl.len()).collect().item()):
            return False
        found = content_sum(batches())
        return found[0] == count and found == content_sum(there.collect_batches(maintain_order=False))

    def _write(self, table: Table, rows: Any, mode: Any, predicate: str | None = None) -> None:
        """Write to the current version of the table; add the columns that it lacks first."""
        write_rows(self._open_to_write(table), table, rows, mode, predicate)

    def _open_to_write(self, table: Table) -> DeltaTable:
        """Open the table with all of its columns; create it if it is not there."""
        delta = self._open(table) or create_table(table, self.address(table), self.options)
        add_columns(table, delta)
        return delta

    def _clear(self, table: Table, partition: Mapping[str, str]) -> None:
        if (delta := self._open(table)) is not None:
            delta.delete(_make_predicate(partition))

    def _commit(self, table: Table, rows: int | None, write: Callable[[], None]) -> None:
        """Write, and retry when another writer committed first: Delta's commits are optimistic."""
        for attempt in range(_ATTEMPTS):
            try:
                return write()
            except CommitFailedError as error:
                if attempt == _ATTEMPTS - 1:
                    says = f"other writers were first {_ATTEMPTS} times in a row"
                    raise table_error(self.address(table), says, error) from None
                time.sleep(random.uniform(0, min(2.0, 0.05 * 2**attempt)))
            except (DeltaError, OSError) as error:
                says = f"could not write {'the' if rows is None else rows} rows"
                raise table_error(self.address(table), says, error) from None
        return None


def _make_predicate(partition: Mapping[str, str]) -> str:
    # An overwrite without a predicate does not conflict with another one that was committed first.
    quoted = {column: value.replace("'", "''") for column, value in partition.items()}
    return " AND ".join(f"{column} = '{value}'" for column, value in quoted.items()) or "true"
