"""Small files are merged, and files that no reader needs any more are deleted."""

from collections.abc import Mapping
from dataclasses import dataclass

import polars as pl
from deltalake import DeltaTable
from deltalake.exceptions import CommitFailedError

RETENTION_HOURS = 168  # readers that opened an old version have a week to end


@dataclass(frozen=True)
class Maintenance:
    """What was done to one table: partitions whose files were merged, and old files that were deleted."""

    table: str
    merged_partitions: int
    deleted_files: int


def crowded_partitions(delta: DeltaTable, files: int) -> list[dict[str, str]]:
    """The partitions that have more than so many files; one without columns stands for a table without partitions."""
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
    """Merge the files of one partition; False when another process wrote to it meanwhile, which is no error."""
    filters = [(column, "=", value) for column, value in partition.items()] or None
    try:
        delta.optimize.compact(partition_filters=filters, max_concurrent_tasks=1)
    except CommitFailedError:
        return False
    return True


def delete_old_files(delta: DeltaTable, hours: int = RETENTION_HOURS) -> int:
    """Delete data files that no version of the last hours has; returns how many. Old log files go with checkpoints."""
    deleted = delta.vacuum(retention_hours=hours, dry_run=False, enforce_retention_duration=hours >= RETENTION_HOURS)
    return len(deleted)
