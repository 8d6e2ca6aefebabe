"""Compatibility of tables with older and newer code: missing columns are filled in, unreadable tables are refused.

A table's Delta properties record the version that it was created with and the oldest version that may use it. Tables
without these properties are of version 1. A column that was added later has its version in the column's metadata, so
that a single commit adds the column and records the version.
"""

from typing import Any

import polars as pl
from deltalake import DeltaTable, write_deltalake
from deltalake import Field as DeltaField
from deltalake import Schema as DeltaSchema

from openthoughts_dagster.lake.errors import LakeError, table_error
from openthoughts_dagster.lake.rows import arrow_schema
from openthoughts_dagster.lake.table import Table

_VERSION, _COMPATIBLE = "openthoughts.schemaVersion", "openthoughts.compatibleSince"
_SINCE = "openthoughts.since"
_RESTORE = (
    "Another tool changed the table: restore the version before that, with DeltaTable(address).restore(version) of "
    "the Python package deltalake, or restore the folder from a backup"
)


def create_table(table: Table, address: str, options: dict[str, str] | None) -> DeltaTable:
    """Create a table without rows, unless another process did, and record the version of its definition.

    It is created empty because two first writes into no table do not conflict, whereas two overwrites do.
    """
    return DeltaTable.create(
        address,
        arrow_schema(table.schema.to_frame()),
        mode="ignore",
        partition_by=list(table.partition_by) or None,
        storage_options=options,
        configuration={_VERSION: str(table.version), _COMPATIBLE: str(table.compatible_since)},
        raise_if_key_not_exists=False,
    )


def recorded_version(delta: DeltaTable) -> int:
    """Return the version with which a table was created, or a later one that added a column."""
    made = int(delta.metadata().configuration.get(_VERSION) or 1)
    return max([made, *(int(field.metadata.get(_SINCE, 1)) for field in delta.schema().fields)])


def check_columns(table: Table, delta: DeltaTable, address: str) -> None:
    """Refuse a table that this code would misread.

    Args:
        table: The table as this code knows it.
        delta: The table as it is.
        address: Where it is.

    Raises:
        LakeError: Newer code made a change that this code cannot read, a column is missing that the table once had, or
            the type of a column or the partition columns differ.
    """
    found, compatible = recorded_version(delta), int(delta.metadata().configuration.get(_COMPATIBLE) or 1)
    if compatible > table.version:
        raise _refusal(
            address,
            f"it has version {found}, which needs code of version {compatible} or newer, and this code has version "
            f"{table.version}",
            "Upgrade this process to the version of openthoughts-dagster that wrote the table",
        )
    if found < table.compatible_since:
        raise _refusal(
            address,
            f"it has version {found}, and this code reads version {table.compatible_since} or newer",
            "Open the lake with the version of openthoughts-dagster that wrote it, and see its release notes for how "
            "to upgrade it",
        )
    there = {field.name: field for field in delta.schema().fields}
    for name, field in _delta_fields(table).items():
        if name not in there:
            if table.definition[name].since <= found:
                raise _refusal(address, f"its column {name} is gone", _RESTORE)
        elif there[name].type != field.type:
            says = f"its column {name} is {_kind_of(there[name])}, expected {_kind_of(field)}"
            raise _refusal(address, says, _RESTORE)
    if tuple(delta.metadata().partition_columns) != table.partition_by:
        partitions = ", ".join(delta.metadata().partition_columns) or "nothing"
        says = f"it is partitioned by {partitions}, expected {', '.join(table.partition_by) or 'nothing'}"
        raise _refusal(address, says, _RESTORE)


def add_columns(table: Table, delta: DeltaTable) -> None:
    """Add the columns that an older table lacks, in one commit.

    Raises:
        CommitFailedError: Another process committed first.
    """
    there = {field.name for field in delta.schema().fields}
    added = [
        DeltaField(name, field.type, nullable=True, metadata={_SINCE: str(table.definition[name].since)})
        for name, field in _delta_fields(table).items()
        if name not in there
    ]
    if added:  # set_table_properties would hold the interpreter's lock while it waits for the store
        delta.alter.add_columns(added)


def write_rows(delta: DeltaTable, table: Table, rows: Any, mode: Any, predicate: str | None) -> None:
    """Write to the version of a table that was opened.

    Raises:
        CommitFailedError: Another writer changed the rows of the predicate since then.
    """
    merge: Any = "merge" if _has_more_columns(table, delta) else None
    write_deltalake(delta, rows, mode=mode, predicate=predicate, schema_mode=merge)


def _has_more_columns(table: Table, delta: DeltaTable) -> bool:
    """Return whether newer code or another tool added columns; rows that this code writes are null there."""
    return any(field.name not in table.columns for field in delta.schema().fields)


def known_columns(table: Table, delta: DeltaTable) -> list[pl.Expr]:
    """Select the columns that this code knows; columns that the table lacks are null or have their default."""
    there = {field.name for field in delta.schema().fields}

    def column(name: str, kind: Any) -> pl.Expr:
        default = table.defaults.get(name)
        if name not in there:
            return pl.lit(default, dtype=kind).alias(name)
        return pl.col(name) if default is None else pl.col(name).fill_null(pl.lit(default, dtype=kind))

    return [column(name, kind) for name, kind in table.columns.items()]


def _delta_fields(table: Table) -> dict[str, Any]:
    schema = DeltaSchema.from_arrow(arrow_schema(table.schema.to_frame()))
    return {field.name: field for field in schema.fields}


def _kind_of(field: Any) -> str:
    return str(getattr(field.type, "type", field.type))


def _refusal(address: str, says: str, remedy: str) -> LakeError:
    return table_error(address, "this version cannot use the table", says, remedy)
