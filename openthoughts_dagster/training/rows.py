"""Hashes, writes and reads the rows of a training a part at a time."""

import hashlib
from collections.abc import Iterator
from pathlib import Path

import polars as pl

from openthoughts_dagster.lake import read_slices, text_hash
from openthoughts_dagster.training.templates import is_cut_off

Rows = pl.DataFrame | pl.LazyFrame
"""Columns question and text, in the order that counts; a LazyFrame is never held in memory as a whole."""

_PART = 2000  # rows that are hashed together
_GROUP = 1000  # rows in a part; a row of a reasoning data set has up to 100 kB


def write_rows(rows: Rows, path: Path) -> None:
    """Write rows to a parquet file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rows.lazy().select("question", "text").sink_parquet(path, row_group_size=_GROUP, maintain_order=True)


def read_rows(path: Path, first: int = 0) -> Iterator[pl.DataFrame]:
    """Yield the rows of a file in parts, from row number `first` on."""
    from pyarrow.parquet import ParquetFile

    file, begin = ParquetFile(path), 0
    for group in range(file.num_row_groups):
        count = file.metadata.row_group(group).num_rows
        if begin + count > first:
            frame = pl.DataFrame(pl.from_arrow(file.read_row_group(group, columns=["question", "text"])))
            yield frame.slice(max(0, first - begin))
        begin += count


def rows_identity(rows: Rows) -> dict[str, str | int]:
    """Return what a fingerprint contains of the rows: their hash, and the number of cut-off ones if there are any.

    The hash is the `frame_hash` of the rows with their positions. The number is there because earlier versions trained
    cut-off rows with an end of turn, which made other students.
    """
    digest = hashlib.blake2b(text_hash("position", "question", "text").encode(), digest_size=16)
    position = cut = 0
    for part in read_slices(rows.select("question", "text"), _PART):
        digest.update(part.with_row_index("position", offset=position).write_ndjson().encode())
        cut += sum(is_cut_off(text) for text in part["text"])
        position += part.height
    return {"rows": digest.hexdigest()} | ({"cut_off_rows": cut} if cut else {})
