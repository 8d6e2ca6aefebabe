"""The maintenance of the lake, table by table."""

from typing import Any

from openthoughts_dagster.lake import Lake, describe_maintenance


def maintained(lake: Lake, files: int) -> tuple[list[dict[str, Any]], str]:
    """Maintain all tables of the lake.

    Args:
        lake: The tables.
        files: Partitions with no more files than this are not changed.

    Returns:
        A row for each table, and a line that says how much space was freed.

    Raises:
        LakeError: A table cannot be read or written. The tables before it are done.
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
