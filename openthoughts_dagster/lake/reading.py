"""Lazy scans of the lake's tables, and the search for damaged files."""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import polars as pl
from deltalake import DeltaTable
from deltalake.exceptions import DeltaError, TableNotFoundError

from openthoughts_dagster.lake import damage
from openthoughts_dagster.lake.answer_tables import COMPLETIONS, TEACHER_ANSWERS
from openthoughts_dagster.lake.errors import LakeError, table_error
from openthoughts_dagster.lake.table import Table
from openthoughts_dagster.lake.versions import check_columns, known_columns

_PLAIN = "/-._~!$&'()*+,;=:@[]|^"  # signs that a URL of a folder has as they are


class LakeReader:
    """The reading half of `Lake`, which has the arguments and the examples."""

    def __init__(self, root: str | Path, options: Mapping[str, str] | None = None) -> None:
        self.root = str(root).rstrip("/")
        self.options = dict(options or {})
        self._scanned: dict[tuple[Any, ...], Table] = {}
        self._versions: dict[str, int | None] = {}

    def address(self, table: Table) -> str:
        """Return the folder or address of a table."""
        return f"{self.root}/{table.name}"

    def at(self, versions: Mapping[str, int | None]) -> "LakeReader":
        """Return a reader of the tables as they were at older versions of theirs.

        Args:
            versions: Delta's version of each table, by its name, as `version` gives it; None for a table that was not
                there yet. Other tables are read as they are now.

        Returns:
            A reader. Its scans raise LakeError where a version can no longer be read: Delta keeps the log of a version
            for 30 days, and maintenance keeps replaced files for a week, or as long as a release needs them.

        Example:
            >>> before = lake.version(TEACHER_ANSWERS)  # doctest: +SKIP
            >>> lake.at({"teacher_answers": before}).scan(TEACHER_ANSWERS).collect()  # doctest: +SKIP
        """
        reader = LakeReader(self.root, self.options)
        reader._versions = dict(versions)
        return reader

    def version(self, table: Table) -> int | None:
        """Return the number of the table's present version; None before its first commit."""
        delta = self._open(table)
        return None if delta is None else delta.version()

    def scan(self, table: Table, **partition: str) -> pl.LazyFrame:
        """Read a table lazily.

        Args:
            table: One of the tables in `lake/*_tables.py`.
            **partition: Columns and the values that rows must have there. Where the table is partitioned by them, no
                other partition's files are opened.

        Returns:
            All columns of the table in their order. Columns that an older table lacks have their default or null, and
            columns that only newer code knows are left out. The frame is empty when nothing was written yet.

        Raises:
            LakeError: The table cannot be read, one of its files is damaged, or this code would misread it.

        Example:
            >>> lake.scan(TEACHER_ANSWERS, source="gsm8k", teacher="qwq-32b").collect()
        """
        if (delta := self._open(table)) is None:
            return pl.LazyFrame(schema=table.schema)
        self._scanned[table.name, *partition.items()] = table
        chosen = _partition_filter(table, partition)
        damage.check_files(delta, self.address(table), chosen)
        if chosen:
            frame = self._scan_files(table, delta, chosen)
        else:
            frame = pl.scan_delta(delta, storage_options=self.options or None)
        for column in partition.keys() - chosen.keys():
            frame = frame.filter(pl.col(column) == partition[column])
        return frame.select(known_columns(table, delta))

    def _scan_files(self, table: Table, delta: DeltaTable, partition: Mapping[str, str]) -> pl.LazyFrame:
        """Scan the files of one partition. No filter stops a slice, so that only its row groups are read."""
        there = {field.name for field in delta.schema().fields}
        schema = {name: kind for name, kind in table.columns.items() if name in there}
        files = [path for path, _ in damage.data_files(delta, partition)]
        if not files:
            return pl.LazyFrame(schema=schema)
        return pl.scan_parquet(
            files,
            schema={name: kind for name, kind in schema.items() if name not in table.partition_by},
            hive_schema={name: schema[name] for name in table.partition_by},
            missing_columns="insert",
            extra_columns="ignore",
            storage_options=self.options or None,
        )

    def read_files(self, table: Table, columns: Sequence[str], **partition: str) -> Iterator[pl.DataFrame]:
        """Read columns of a table one data file at a time, so that no more than one file's texts are in memory.

        A scan in batches reads ahead of a slow consumer until it holds the whole table (Polars 2).

        Args:
            table: The table.
            columns: Columns that the table had from its first version on, without those that partition it.
            **partition: Columns that Delta partitions the table by, and the values of one partition.

        Yields:
            The columns of one file, in no order of files.

        Raises:
            LakeError: The table or one of its files cannot be read; the message names the file.
        """
        if (delta := self._open(table)) is None:
            return
        chosen = _partition_filter(table, partition)
        damage.check_files(delta, self.address(table), chosen)
        for path, _ in damage.data_files(delta, chosen):
            try:
                frame = pl.read_parquet(
                    path, columns=list(columns), storage_options=self.options or None, hive_partitioning=False
                )
            except (pl.exceptions.PolarsError, OSError) as error:
                says = f"{path}: {error}"
                raise table_error(self.address(table), "the table is damaged", says, damage.DATA_REMEDY) from None
            yield frame

    def answers(self, **partition: str) -> pl.LazyFrame:
        """Read the teachers' answers joined with their texts.

        `teacher_answers` names one completion of the ledger for every question and sample, so that publishing a
        million answers copies no text. This scan joins the names with the texts.

        Args:
            **partition: `source`, `teacher`, or both.

        Returns:
            One row for each question and sample: the columns of `teacher_answers`, and those of `completions`.

        Raises:
            LakeError: As in `scan`.

        Example:
            >>> lake.answers(source="gsm8k").select("question_id", "reasoning", "answer").collect()
        """
        chosen = self.scan(TEACHER_ANSWERS, **partition)
        # The ledger is partitioned by model, so the files of other models are not opened.
        models = chosen.select(pl.col("model").unique()).collect()["model"].implode()
        texts = self.scan(COMPLETIONS).filter(pl.col("model").is_in(models)).drop("model", "key", "content", "source")
        return chosen.join(texts, on=["completion_id", "sample_index"], how="inner")

    @contextmanager
    def named_damage(self) -> Iterator[None]:
        """Replace an error of Polars about a damaged file by one that names the file.

        Polars reads lazily, and its error does not name the file that is not valid Parquet. When the block raises an
        error of Polars, all files of this lake's scans are therefore read once more.

        Raises:
            LakeError: It names the first file that cannot be read. Other errors are raised unchanged.

        Example:
            >>> with lake.named_damage():
            ...     lake.scan(COMPLETIONS).collect()
        """
        try:
            yield
        except LakeError:
            raise
        except Exception as error:
            if isinstance(error, pl.exceptions.PolarsError | OSError):
                self._raise_damage()
            raise
        except BaseException as error:
            if damage.is_panic(error):
                self._raise_damage()
            raise

    def check_files(self, table: Table, **partition: str) -> None:
        """Read every file of a table or of one partition. This is slow, because it reads all data.

        Args:
            table: The table.
            **partition: Columns that Delta partitions the table by, and the values of one partition.

        Raises:
            LakeError: It names the first file that cannot be read.
        """
        if (delta := self._open(table)) is not None:
            for says in damage.damaged_files(delta, self.options, _partition_filter(table, partition)):
                raise table_error(self.address(table), "the table is damaged", says, damage.DATA_REMEDY) from None

    def _raise_damage(self) -> None:
        for (_, *partition), table in list(self._scanned.items()):
            self.check_files(table, **dict(partition))

    def _open(self, table: Table) -> DeltaTable | None:
        """Open the current version of the table; return None before its first commit."""
        address = self.address(table)
        if problem := find_path_problem(self.root):
            raise LakeError(f"{self.root}: {problem}")
        version = self._versions.get(table.name)
        if version is None and table.name in self._versions:
            return None
        # is_deltatable would hold the interpreter's lock while it waits for the store.
        try:
            delta = DeltaTable(address, version=version, storage_options=self.options)
        except TableNotFoundError:
            return None
        except (DeltaError, OSError) as error:
            raise damage.explain_log(address) or table_error(address, "could not be read", error) from None
        damage.check_log(address, delta.version())
        check_columns(table, delta, address)
        return delta


def read_slices(rows: pl.DataFrame | pl.LazyFrame, count: int) -> Iterator[pl.DataFrame]:
    """Read rows in order, at most `count` at a time, so that a slow consumer never holds more than these.

    `collect_batches` of Polars 2 reads ahead of its consumer until it holds all rows, and so do its sinks.

    Args:
        rows: A frame, a scan of a table or of one partition, or a scan of files. A frame that is filtered, joined or
            sorted is computed again for each slice.
        count: Rows in a slice; the last may have fewer.

    Yields:
        The slices that have rows.
    """
    for start in itertools.count(0, count):
        part = rows.lazy().slice(start, count).collect()
        if part.height:
            yield part
        if part.height < count:
            return


def find_path_problem(root: str) -> str | None:
    """Say why the tables cannot be in the folder `root`; None if they can, and for an address in an object store.

    deltalake writes to a folder whose path a URL has to encode, but Polars does not find the files that it wrote.
    """
    path = str(Path(root).resolve())
    if "://" in root or quote(path, safe=_PLAIN) == path:
        return None
    letters = " ".join(sorted({repr(letter) for letter in path if quote(letter, safe=_PLAIN) != letter}))
    return f"the path of the lake may not contain {letters}: choose a folder of plain letters for OPENTHOUGHTS_LAKE"


def _partition_filter(table: Table, partition: Mapping[str, str]) -> dict[str, str]:
    """Keep only the columns that Delta partitions the table by."""
    return {column: value for column, value in partition.items() if column in table.partition_by}
