"""The input and the result of a rule."""

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
    """The partition that a rule checks.

    Attributes:
        recipe: The recipe.
        lake: The tables.
        labels: The values of the columns that the asset is partitioned by, such as source and teacher.
        recorded: The metadata of the partition's latest materialization.
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
        """Scan the table's rows of this partition. Nothing is read yet."""
        own = {column: value for column, value in self.labels.items() if column in table.columns}
        return self.lake.scan(table, **own, **more)

    def rows(self, table: Table, **more: str) -> pl.DataFrame:
        """Read the table's rows of this partition."""
        return self.scan(table, **more).collect()

    def count(self, table: Table, **more: str) -> int:
        """Count the table's rows of this partition without reading them."""
        return int(self.scan(table, **more).select(pl.len()).collect().item())


@dataclass(frozen=True)
class Finding:
    """The result of a rule: whether it holds, a sentence for people, and the numbers behind it."""

    passed: bool
    says: str
    numbers: dict[str, Any] = field(default_factory=dict)


Rule = Callable[[Partition], Finding]


def without(left: pl.LazyFrame, right: pl.LazyFrame) -> int:
    """Count the rows of `left` that are not in `right`. Both have only key columns."""
    columns = left.collect_schema().names()
    return int(left.join(right, on=columns, how="anti").select(pl.len()).collect(engine="streaming").item())
