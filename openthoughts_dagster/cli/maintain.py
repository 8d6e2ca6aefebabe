"""The lake's upkeep, table by table."""

from typing import Any

from openthoughts_dagster.lake import Lake, describe_maintenance


def maintained(lake: Lake, files: int) -> tuple[list[dict[str, Any]], str]:
    """Maintain the lake: a row for each table, and a line of what it freed.

    Args:
        lake: The tables.
        files: Partitions with no more files than this are left alone.

    Raises:
        LakeError: A table cannot be read or written; tables before it are done.
    """
    done = lake.maintain(files)
    rows = [
        {
            "table": table.table,
            "partitions merged": table.merged_partitions,
            "files deleted": table.deleted_files,
            "MiB freed": None if table.freed_bytes is None else table.freed_bytes / 2**20,
        }
        for table in done
    ]
    return rows, describe_maintenance(done)
