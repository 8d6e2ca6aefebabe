"""The definition of a table: columns with types and descriptions, partitions and versions."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import polars as pl

Kind = pl.DataType | type[pl.DataType]


@dataclass(frozen=True)
class Column:
    """A column of a table.

    Args:
        kind: Its Polars type.
        description: What it holds, in plain words, with the unit of a number.
        nullable: Whether a value may be missing.
        default: The value of rows that lack the column: rows that are written without it, and rows of tables that
            were created before the column was added.
        since: The table's version that added it; 1 for columns that were always there.

    Raises:
        ValueError: The column was added later and is neither nullable nor has a default for old rows.
    """

    kind: Kind
    description: str
    nullable: bool = False
    default: Any = None
    since: int = 1

    def __post_init__(self) -> None:
        if self.since > 1 and not self.nullable and self.default is None:
            raise ValueError(f"a later column is nullable or has a default, for old rows: {self.description}")


@dataclass(frozen=True)
class Table:
    """A Delta table of the lake.

    To add a column, give it `since=table.version + 1`, and make it nullable or give it a default: tables of older
    lakes are read with that value, and get the column at their next write. For any other change set
    `compatible_since` to the new version: processes of older code then refuse the table instead of misreading it.

    Args:
        name: Its folder in the lake.
        description: What the table is, in one sentence.
        definition: Its columns by name, in their order.
        partition_by: The columns that Delta partitions by. Columns that were added later cannot be among them.
        compatible_since: The oldest version of this definition whose code can read and write the table.
    """

    name: str
    description: str
    definition: Mapping[str, Column]
    partition_by: tuple[str, ...] = ()
    compatible_since: int = 1

    @cached_property
    def version(self) -> int:
        """Version of the definition, counted from 1 and stored in the table's Delta properties."""
        return max(self.compatible_since, *(column.since for column in self.definition.values()))

    @cached_property
    def columns(self) -> Mapping[str, Kind]:
        """The Polars type of every column."""
        return {name: column.kind for name, column in self.definition.items()}

    @cached_property
    def descriptions(self) -> Mapping[str, str]:
        """The description of every column."""
        return {name: column.description for name, column in self.definition.items()}

    @cached_property
    def defaults(self) -> Mapping[str, Any]:
        """The default of every column that has one."""
        return {name: column.default for name, column in self.definition.items() if column.default is not None}

    @cached_property
    def nullable(self) -> frozenset[str]:
        """The columns in which a value may be missing."""
        return frozenset(name for name, column in self.definition.items() if column.nullable)

    @property
    def schema(self) -> pl.Schema:
        """The Polars schema of a full row."""
        return pl.Schema(self.columns)
