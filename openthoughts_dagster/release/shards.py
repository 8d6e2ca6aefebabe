"""Writes a stream of Arrow tables into Parquet files of a stated size."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from openthoughts_dagster.release.columns import Config, Sizes

GROUP_BYTES = 32 * 2**20
_PLAIN = {"value", "content", "question", "text", "answers", "evidence", "origin", "reference_answer"}


@dataclass
class ShardWriter:
    """Writes the files of one config: `train-00000-of-00003.parquet` and so on, each of about `shard_bytes`.

    Where a file and a row group end depends on the rows alone, and not on the tables that they come in. Files have a
    page index and statistics. Chunks are cut where the content says so, so that a store that keeps equal chunks once,
    as the hub does, keeps what two versions share once.

    Args:
        folder: The folder of the config's files.
        config: The config.
        shard_bytes: Bytes of a file's rows before compression.
    """

    folder: Path
    config: Config
    shard_bytes: int
    rows: int = 0
    bytes: int = 0

    def __post_init__(self) -> None:
        self._writer: pq.ParquetWriter | None = None
        self._pending: list[pa.Table] = []
        self._pending_bytes = self._written_bytes = self._files = 0

    def write(self, table: pa.Table, sizes: Sizes) -> None:
        """Add rows.

        Args:
            table: Rows with the schema of the config.
            sizes: Bytes of each row.
        """
        ends, start = np.cumsum(sizes), 0
        self.rows, self.bytes = self.rows + table.num_rows, self.bytes + int(sizes.sum())
        while start < table.num_rows:
            before = int(ends[start - 1]) if start else 0
            room = min(GROUP_BYTES, self.shard_bytes - self._written_bytes) - self._pending_bytes
            end = min(int(np.searchsorted(ends, before + room)) + 1, table.num_rows)
            self._pending.append(table.slice(start, end - start))
            self._pending_bytes += int(ends[end - 1]) - before
            start = end
            if self._written_bytes + self._pending_bytes >= self.shard_bytes:
                self._flush()
                self._close_file()
            elif self._pending_bytes >= GROUP_BYTES:
                self._flush()

    def close(self) -> list[Path]:
        """Finish the last file and give all files their names. Without rows there is no file."""
        if self._pending:
            self._flush()
        self._close_file()
        names = []
        for number in range(self._files):
            name = self.folder / f"train-{number:05}-of-{self._files:05}.parquet"
            names.append(self._unnamed(number).rename(name))
        return names

    def abandon(self) -> None:
        """Close an unfinished file, whose folder is thrown away."""
        if self._writer is not None:
            with suppress(OSError):  # the disk may be full
                self._writer.close()

    def _unnamed(self, number: int) -> Path:
        return self.folder / f"{number:05}.parquet"

    def _open(self) -> pq.ParquetWriter:
        if self._writer is None:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._writer = pq.ParquetWriter(
                self._unnamed(self._files),
                self.config.schema,
                compression="zstd",
                compression_level=1,
                use_dictionary=_dictionary_columns(self.config.schema),
                write_page_index=True,
                use_content_defined_chunking=True,
            )
        return self._writer

    def _flush(self) -> None:
        group = pa.concat_tables(self._pending)
        self._open().write_table(group.combine_chunks(), row_group_size=group.num_rows)
        self._written_bytes += self._pending_bytes
        self._pending, self._pending_bytes = [], 0

    def _close_file(self) -> None:
        if self._writer is not None:
            self._writer.close()
            self._writer, self._files, self._written_bytes = None, self._files + 1, 0


@contextmanager
def shard_writer(folder: Path, config: Config, shard_bytes: int) -> Iterator[ShardWriter]:
    """Open a writer of one config's files; they have their names when the block ends without an error."""
    writer = ShardWriter(folder, config, shard_bytes)
    try:
        yield writer
    except BaseException:
        writer.abandon()
        raise
    writer.close()


def _dictionary_columns(schema: pa.Schema) -> list[str]:
    """List the columns that repeat few values, as Parquet names them; texts would only fill dictionaries in vain."""
    paths: list[str] = []

    def visit(path: str, kind: pa.DataType) -> None:
        if pa.types.is_list(kind):
            visit(f"{path}.list.element", kind.value_type)
        elif pa.types.is_struct(kind):
            for field in kind:
                visit(f"{path}.{field.name}", field.type)
        elif not set(path.split(".")) & _PLAIN:
            paths.append(path)

    for field in schema:
        visit(field.name, field.type)
    return paths
