"""The rows of a training, in memory or in a file: hashed and read a part at a time."""

import hashlib
from collections.abc import Iterator
from pathlib import Path

import polars as pl

from openthoughts_dagster.lake import text_hash
from openthoughts_dagster.training.templates import is_cut_off

Rows = pl.DataFrame | pl.LazyFrame
"""Columns question and text, in the order that counts; a LazyFrame is never held in memory as a whole."""

_GROUP = 1000  # rows: a row of a reasoning dataset has up to 100 kB


def write_rows(rows: Rows, path: Path) -> None:
    """Leave rows in a parquet file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rows.lazy().select("question", "text").sink_parquet(path, row_group_size=_GROUP, maintain_order=True)


def read_rows(path: Path, first: int = 0) -> Iterator[pl.DataFrame]:
    """The rows of a file from the one with this number on, some at a time."""
    from pyarrow.parquet import ParquetFile

    file, begin = ParquetFile(path), 0
    for group in range(file.num_row_groups):
        count = file.metadata.row_group(group).num_rows
        if begin + count > first:
            frame = pl.DataFrame(pl.from_arrow(file.read_row_group(group, columns=["question", "text"])))
            yield frame.slice(max(0, first - begin))
        begin += count


def rows_identity(rows: Rows) -> dict[str, str | int]:
    """What of the rows is part of a fingerprint: a hash of them, and how many were cut off, when any was.

    The hash is that of `frame_hash` on the rows with their positions. Rows that were cut off once ended as if they had
    been whole, and students that learned so are others.
    """
    digest = hashlib.blake2b(text_hash("position", "question", "text").encode(), digest_size=16)
    position = cut = 0
    for part in _parts(rows):
        digest.update(part.with_row_index("position", offset=position).write_ndjson().encode())
        cut += sum(is_cut_off(text) for text in part["text"])
        position += part.height
    return {"rows": digest.hexdigest()} | ({"cut_off_rows": cut} if cut else {})


def _parts(rows: Rows) -> Iterator[pl.DataFrame]:
    chosen = rows.select("question", "text")
    if isinstance(chosen, pl.DataFrame):
        yield from chosen.iter_slices(100_000)
    else:
        yield from chosen.collect_batches(chunk_size=_GROUP, maintain_order=True)
