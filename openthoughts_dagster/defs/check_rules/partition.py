"""What a rule looks at, and what it finds."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import polars as pl

from openthoughts_dagster.lake import (
    Lake,
    Table,
)
from openthoughts_dagster.recipe import Recipe


@dataclass(frozen=True)
class Partition:
    """What a rule looks at.

    `labels` are the values of the columns that the asset is partitioned by, such as source and teacher; `recorded` is
    the metadata of the partition's latest materialization.
    """

    recipe: Recipe
    lake: Lake
    labels: Mapping[str, str]
    recorded: Mapping[str, Any]

    @property
    def source(self) -> str:
        """The partition's source."""
        return self.labels["source"]

    @property
    def teacher(self) -> str:
        """The partition's teacher."""
        return self.labels["teacher"]

    def scan(self, table: Table, **more: str) -> pl.LazyFrame:
        """The table's rows of this partition, not read yet."""
        own = {column: value for column, value in self.labels.items() if column in table.columns}
        return self.lake.scan(table, **own, **more)

    def rows(self, table: Table, **more: str) -> pl.DataFrame:
        """The table's rows of this partition."""
        return self.scan(table, **more).collect()

    def count(self, table: Table, **more: str) -> int:
        """How many rows the table has of this partition; reads none of them."""
        return int(self.scan(table, **more).select(pl.len()).collect().item())


@dataclass(frozen=True)
class Finding:
    """Whether the rule holds, what it says, and the numbers behind it."""

    passed: bool
    says: str
    numbers: dict[str, Any] = field(default_factory=dict)


Rule = Callable[[Partition], Finding]


def without(left: pl.LazyFrame, right: pl.LazyFrame) -> int:
    """How many rows of `left`, which has key columns only, are not in `right`."""
    columns = left.collect_schema().names()
    return int(left.join(right, on=columns, how="anti").select(pl.len()).collect(engine="streaming").item())
