"""Claims: a row of a Delta table lets one process at a time do a piece of work, on whatever machine the others run.

deltalake 1.6 lets two compactions of one partition succeed, after which every row is there twice. An overwrite,
however, fails when another commit came after the version that it read. A claim is such an overwrite.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import polars as pl
from deltalake import DeltaTable, write_deltalake
from deltalake.exceptions import CommitFailedError, TableNotFoundError

_FORGOTTEN = timedelta(days=1)  # a claim that is a day old, or dated a day ahead, does not count
_COLUMNS: dict[str, pl.DataType | type[pl.DataType]] = {
    "work": pl.String,
    "claimed_at": pl.Datetime("us", "UTC"),
    "done": pl.Boolean,
}


@contextmanager
def claim(address: str, options: Mapping[str, str], work: str) -> Iterator[bool]:
    """Claim `work` until the block ends; the value is False when another process holds the claim."""
    if not _write(address, options, work, done=False):
        yield False
        return
    try:
        yield True
    finally:
        _write(address, options, work, done=True)


def _write(address: str, options: Mapping[str, str], work: str, done: bool) -> bool:
    now = datetime.now(UTC)
    rows = pl.DataFrame([{"work": work, "claimed_at": now, "done": done}], schema=_COLUMNS)
    storage = dict(options)
    try:
        table = DeltaTable(address, storage_options=storage)
    except TableNotFoundError:
        # Several processes may create the empty table: only an overwrite is checked against commits of others.
        columns = rows.head(0).to_arrow().schema
        try:
            table = DeltaTable.create(address, columns, mode="ignore", partition_by=["work"], storage_options=storage)
        except CommitFailedError:  # another process created it in the same moment
            table = DeltaTable(address, storage_options=storage)
    held = pl.scan_delta(table, storage_options=storage or None).filter(pl.col("work") == work).collect()
    if (
        not done
        and held.filter(~pl.col("done") & pl.col("claimed_at").is_between(now - _FORGOTTEN, now + _FORGOTTEN)).height
    ):
        return False
    try:
        write_deltalake(table, rows.to_arrow(), mode="overwrite", predicate=f"work = '{work}'", storage_options=storage)
    except CommitFailedError:
        return False
    return True
