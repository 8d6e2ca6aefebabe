"""Work on a table that only one process may do at a time, wherever the others run: claimed by a row of a Delta table.

deltalake 1.6 lets two compactions of one partition succeed, and every row is there twice. What it does check is that no
other commit came between the state that an overwrite was made from and its own: a claim is such an overwrite.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import polars as pl
from deltalake import DeltaTable, write_deltalake
from deltalake.exceptions import CommitFailedError, TableNotFoundError

_FORGOTTEN = timedelta(days=1)  # the claim of a process that died ends then; one dated later is of a wrong clock
_COLUMNS: dict[str, pl.DataType | type[pl.DataType]] = {
    "work": pl.String,
    "claimed_at": pl.Datetime("us", "UTC"),
    "done": pl.Boolean,
}


@contextmanager
def claim(address: str, options: Mapping[str, str], work: str) -> Iterator[bool]:
    """Whether `work` is this process's alone until the block ends; False when another process is at it."""
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
        # Several processes may make the empty table; only an overwrite is checked against what others did.
        columns = rows.head(0).to_arrow().schema
        table = DeltaTable.create(address, columns, mode="ignore", partition_by=["work"], storage_options=storage)
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
