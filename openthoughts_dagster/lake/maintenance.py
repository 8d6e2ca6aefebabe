"""Maintenance of tables: merge small files, and delete files that no reader needs any more."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
from deltalake import DeltaTable
from deltalake.exceptions import CommitFailedError

RETENTION_HOURS = 168  # a reader that opened an old version has a week to finish


@dataclass(frozen=True)
class Maintenance:
    """What maintenance did to one table: partitions that were merged, old files that were deleted, and their bytes.

    `freed_bytes` is None for a table in an object store, whose files are deleted without asking for their sizes.
    """

    table: str
    merged_partitions: int
    deleted_files: int
    freed_bytes: int | None


def crowded_partitions(delta: DeltaTable, files: int) -> list[dict[str, str]]:
    """Return the partitions with more than `files` files; an empty mapping stands for a table without partitions."""
    columns = [f"partition.{column}" for column in delta.metadata().partition_columns]
    actions = pl.DataFrame(delta.get_add_actions(flatten=True))
    if actions.is_empty():
        return []
    if not columns:
        return [{}] if actions.height > files else []
    counts = actions.group_by(columns, maintain_order=True).len().filter(pl.col("len") > files)
    return [
        {name.removeprefix("partition."): str(row[name]) for name in columns} for row in counts.iter_rows(named=True)
    ]


def merge_files(delta: DeltaTable, partition: Mapping[str, str]) -> bool:
    """Merge the files of one partition; return False when another process wrote to it meanwhile."""
    filters = [(column, "=", value) for column, value in partition.items()] or None
    try:
        delta.optimize.compact(partition_filters=filters, max_concurrent_tasks=1)
    except CommitFailedError:
        return False
    return True


def delete_old_files(
    delta: DeltaTable, hours: int = RETENTION_HOURS, keep: Sequence[int] = ()
) -> tuple[int, int | None]:
    """Delete files that no version of the last `hours` refers to; Delta deletes old log files at checkpoints.

    Among them are the files of writers that were killed before they committed them.

    Args:
        delta: The table.
        hours: Files that were replaced since then stay.
        keep: Older versions whose files stay, too.

    Returns:
        How many files were deleted, and their bytes; None for the bytes in an object store.
    """
    # `full` looks at the files themselves; without it only those are deleted that the log says were removed
    settings: dict[str, Any] = {
        "retention_hours": hours,
        "enforce_retention_duration": hours >= RETENTION_HOURS,
        "full": True,
        "keep_versions": list(keep) or None,
    }
    root, sizes = delta.table_uri.removeprefix("file://"), dict[str, int]()
    if "://" not in root:
        for name in delta.vacuum(dry_run=True, **settings):
            path = Path(root) / name
            sizes[name] = path.stat().st_size if path.is_file() else 0
    deleted = delta.vacuum(dry_run=False, **settings)
    return len(deleted), None if "://" in root else sum(sizes.get(name, 0) for name in deleted)


def describe_maintenance(done: Sequence[Maintenance], leftovers: Sequence[tuple[int, int]] = ()) -> str:
    """Return one line that says what was done to all tables.

    Args:
        done: What was done to each table.
        leftovers: The number and the bytes of deleted leftovers of each kind.
    """
    merged, deleted = sum(table.merged_partitions for table in done), sum(table.deleted_files for table in done)
    sizes = [table.freed_bytes for table in done if table.freed_bytes is not None]
    sizes += [size for _, size in leftovers]
    others = f" and {count:,} leftovers" if (count := sum(count for count, _ in leftovers)) else ""
    freed = f", freed {sum(sizes) / 2**20:,.1f} MiB" if sizes else ""
    kept = f"files stay for {RETENTION_HOURS // 24} days after they were replaced"
    return f"merged the files of {merged:,} partitions, deleted {deleted:,} old files{others}{freed}; {kept}"
