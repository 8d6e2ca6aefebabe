"""Hashes, writes and reads the rows of a training a part at a time."""

import hashlib
from collections.abc import Iterator
from pathlib import Path

import polars as pl

from openthoughts_dagster.lake import read_slices, text_hash, value_hash
from openthoughts_dagster.training.templates import is_cut_off

Rows = pl.DataFrame | pl.LazyFrame
"""Columns question, text and ended, in the order that counts; a LazyFrame is never held in memory as a whole.

`ended` says whether the teacher ended the text itself. It may be null or absent, and the text alone decides then.
"""

_COLUMNS = ("question", "text", "ended")
_PART = 2000  # rows that are hashed together
_GROUP = 1000  # rows in a part; a row of a reasoning data set has up to 100 kB


def write_rows(rows: Rows, path: Path) -> None:
    """Write rows to a parquet file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rows.lazy().select(_columns_of(rows)).sink_parquet(path, row_group_size=_GROUP, maintain_order=True)


def read_rows(path: Path, first: int = 0) -> Iterator[pl.DataFrame]:
    """Yield the rows of a file in parts, from row number `first` on. Without a column `ended` it is null."""
    from pyarrow.parquet import ParquetFile

    file, begin = ParquetFile(path), 0
    names = [name for name in _COLUMNS if name in file.schema_arrow.names]
    missing = [pl.lit(None, pl.Boolean).alias(name) for name in _COLUMNS if name not in names]
    for group in range(file.num_row_groups):
        count = file.metadata.row_group(group).num_rows
        if begin + count > first:
            frame = pl.DataFrame(pl.from_arrow(file.read_row_group(group, columns=names)))
            yield frame.slice(max(0, first - begin)).with_columns(missing).select(_COLUMNS)
        begin += count


def rows_identity(rows: Rows) -> dict[str, str | int]:
    """Return what a fingerprint contains of the rows: their hash, and which of them were cut off, if there are any.

    The hash is the `frame_hash` of questions and texts with their positions. Earlier versions trained cut-off rows with
    an end of turn, which made other students. Of rows that were cut off within the trace, which their texts tell, the
    number is there, and of other rows the positions.
    """
    digest = hashlib.blake2b(text_hash("position", "question", "text").encode(), digest_size=16)
    position = cut = 0
    after_trace = list[int]()
    for part in read_slices(rows.select(_columns_of(rows)), _PART):
        texts = part.select("question", "text").with_row_index("position", offset=position)
        digest.update(texts.write_ndjson().encode())
        cut += sum(is_cut_off(text) for text in part["text"])
        if "ended" in part.columns:
            not_ended = texts.filter(part["ended"].eq(False).fill_null(False))
            after_trace += [row for row, _, text in not_ended.iter_rows() if not is_cut_off(text)]
        position += part.height
    found: dict[str, str | int] = {"rows": digest.hexdigest()}
    if cut:
        found["cut_off_rows"] = cut
    if after_trace:
        found["cut_off_after_trace"] = value_hash(after_trace)
    return found


def _columns_of(rows: Rows) -> list[str]:
    there = rows.lazy().collect_schema().names()
    return [name for name in _COLUMNS if name != "ended" or name in there]
