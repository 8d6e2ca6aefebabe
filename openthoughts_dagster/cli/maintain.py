"""The maintenance of a deployment: its tables, and what killed processes left behind."""

from typing import Any

from openthoughts_dagster.defs.maintenance import delete_leftovers_of
from openthoughts_dagster.defs.settings import Settings
from openthoughts_dagster.lake import Lake, describe_maintenance


def maintain_lake(lake: Lake, files: int, settings: Settings) -> tuple[list[dict[str, Any]], str]:
    """Maintain all tables of the lake, and delete leftovers.

    Args:
        lake: The tables.
        files: Partitions with no more files than this are not changed.
        settings: Where leftovers are.

    Returns:
        A row for each table and each kind of leftovers, and a line that says how much space was freed.

    Raises:
        LakeError: A table cannot be read or written. The tables before it are done.
        StorageError: The step outputs cannot be listed or deleted.
    """
    done, leftovers = lake.maintain(files), delete_leftovers_of(settings)
    rows: list[dict[str, Any]] = [
        {
            "what": table.table,
            "partitions merged": table.merged_partitions,
            "deleted": table.deleted_files,
            "MiB freed": None if table.freed_bytes is None else table.freed_bytes / 2**20,
        }
        for table in done
    ]
    rows += [
        {"what": kind.what, "partitions merged": None, "deleted": kind.count, "MiB freed": kind.bytes / 2**20}
        for kind in leftovers
    ]
    return rows, describe_maintenance(done, [(kind.count, kind.bytes) for kind in leftovers])
