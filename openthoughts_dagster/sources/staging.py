"""Rows on their way to the lake: each shard is normalized into files once, which a later attempt finds.

A source may be larger than memory, and its last shard may fail after hours. So rows are written to Parquet files in
batches, shard by shard. The folder of a shard gets its final name when the shard is complete, and the lake commits all
shards at once.
"""

import json
import shutil
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl

from openthoughts_dagster.lake import RAW_SOURCES, REJECTED_QUESTIONS, value_hash
from openthoughts_dagster.recipe import Columns, RowFilter, Source, identity_of
from openthoughts_dagster.sources.contract import Row, Shard
from openthoughts_dagster.sources.filters import describe_filter, matches_filter
from openthoughts_dagster.sources.normalize import question_of, rejection_of
from openthoughts_dagster.sources.patterns import PatternTimeout
from openthoughts_dagster.sources.sampling import Lottery

PRIORITY = "_priority"
QUESTIONS, REJECTED = "questions", "rejected"
_TABLES = {QUESTIONS: RAW_SOURCES, REJECTED: REJECTED_QUESTIONS}
_VERSION = 4  # the version of staged rows; raise it when normalization changes
_BATCH_ROWS, _BATCH_CHARACTERS = 10_000, 32 * 2**20
MOST_NAMES = 200


@dataclass
class RowCounts:
    """Counts of a shard.

    Attributes:
        rows: The number of rows read.
        filtered: The number of rows that each filter left out.
        columns: The names of the columns seen, at most 200.
    """

    rows: int = 0
    filtered: Counter[str] = field(default_factory=Counter)
    columns: list[str] = field(default_factory=list)

    def add(self, other: "RowCounts") -> None:
        """Add the counts of another shard."""
        self.rows += other.rows
        self.filtered.update(other.filtered)
        self.columns = sorted({*self.columns, *other.columns})


@dataclass(frozen=True)
class Stage:
    """The folder of a source's shards, and how their rows become questions.

    Attributes:
        folder: The folder.
        source: The source.
        columns: How rows are mapped.
        limit: The size of the sample; None for all rows.
        seed: The seed of the sample.
        where: The filters.
    """

    folder: Path
    source: Source
    columns: Columns
    limit: int | None
    seed: str
    where: Sequence[RowFilter] = ()

    def folder_of(self, shard: Shard) -> Path:
        """Return the folder that the rows of a shard have when the shard is complete."""
        settings = identity_of(self.source)
        return self.folder / value_hash([_VERSION, settings, self.limit, self.seed, shard.name, shard.version])

    def put(self, shard: Shard) -> bool:
        """Read and normalize a shard, unless an earlier attempt did. Returns whether the shard was read now."""
        target = self.folder_of(shard)
        if target.is_dir():
            return False
        partial = target.with_suffix(".partial")
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        counts, files = RowCounts(), {name: _Files(partial, name) for name in _TABLES}
        lottery = None if self.limit is None else Lottery(self.limit, self.seed, shard.name)
        seen = set[str]()
        for found in shard.rows():
            row = found
            counts.rows += 1
            if len(seen) < MOST_NAMES:
                seen.update(row.values)
            if not row.problem:
                try:
                    out = self._failed_filter(row.values)
                except PatternTimeout as error:
                    row, out = Row({}, row.origin, ("pattern_too_slow", str(error))), None
                if out is not None:
                    counts.filtered[out] += 1
                    continue
            priority = None if lottery is None else lottery.draw(counts.rows)
            if lottery is not None and priority is None:
                continue
            row = row.finish() if row.finish else row
            made = question_of(self.source, self.columns, row)
            if isinstance(made, tuple):
                files[REJECTED].add(rejection_of(self.source, row, *made) | {PRIORITY: priority})
            else:
                files[QUESTIONS].add(made | {PRIORITY: priority})
        counts.columns = sorted(seen)[:MOST_NAMES]
        for file in files.values():
            file.flush()
        (partial / "counts.json").write_text(json.dumps(vars(counts)))
        partial.rename(target)
        return True

    def clear_others(self, shards: list[Shard]) -> None:
        """Remove all other folders: unfinished shards, and shards of other settings or versions."""
        wanted = {self.folder_of(shard) for shard in shards}
        for target in self.folder.iterdir() if self.folder.is_dir() else ():
            if target.is_dir() and target not in wanted:
                shutil.rmtree(target)

    def counts(self, shards: list[Shard]) -> RowCounts:
        """Sum the counts of shards."""
        total = RowCounts()
        for shard in shards:
            read = json.loads((self.folder_of(shard) / "counts.json").read_text())
            total.add(RowCounts(read["rows"], Counter(read["filtered"]), read["columns"]))
        return total

    def batches(self, shards: list[Shard], table: str, columns: list[str] | None = None) -> Iterator[pl.DataFrame]:
        """Yield the staged rows of shards in order, in batches of at most 10,000 rows.

        Args:
            shards: The shards, which have to be complete.
            table: QUESTIONS or REJECTED.
            columns: The columns to read; None for all.
        """
        for shard in shards:
            for path in sorted(self.folder_of(shard).glob(f"{table}-*.parquet")):
                yield pl.read_parquet(path, columns=columns, memory_map=False)

    def _failed_filter(self, values: Any) -> str | None:
        for condition in self.where:
            if not matches_filter(condition, values):
                return describe_filter(condition)
        return None


class _Files:
    """A writer of numbered Parquet files for one kind of rows."""

    def __init__(self, folder: Path, name: str) -> None:
        self._folder, self._name = folder, name
        self._schema = pl.Schema({**_TABLES[name].columns, PRIORITY: pl.Int64})
        self._rows: list[dict[str, Any]] = []
        self._characters = self._number = 0

    def add(self, row: dict[str, Any]) -> None:
        self._rows.append(row)
        self._characters += sum(len(value) for value in row.values() if isinstance(value, str))
        if len(self._rows) >= _BATCH_ROWS or self._characters >= _BATCH_CHARACTERS:
            self.flush()

    def flush(self) -> None:
        if self._rows:
            path = self._folder / f"{self._name}-{self._number:06}.parquet"
            pl.DataFrame(self._rows, schema=self._schema).write_parquet(path, compression="zstd", compression_level=1)
            self._rows, self._characters, self._number = [], 0, self._number + 1
