"""The result of a gate, and what gates read of the recipe."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import polars as pl

from openthoughts_dagster.lake import REASONING_DATASET, RELEASE_VERSIONS, Lake
from openthoughts_dagster.recipe import Recipe, Release
from openthoughts_dagster.release.choosing import release_of
from openthoughts_dagster.release.errors import ReleaseError

SHOWN = 20
"""Rows that a result shows."""


@dataclass(frozen=True)
class GateResult:
    """The result of one gate.

    Attributes:
        gate: Name of the gate, as `release.gates.waive` names it.
        passed: Whether it holds.
        says: What was found, as a sentence.
        remedy: What a person can do; empty when it holds.
        rows: A few rows that fail, to look at.
        numbers: The numbers behind it.
        blocking: Whether the release may not leave when it fails.
    """

    gate: str
    passed: bool
    says: str
    remedy: str = ""
    rows: pl.DataFrame = field(default_factory=pl.DataFrame)
    numbers: Mapping[str, Any] = field(default_factory=dict)
    blocking: bool = True

    def describe(self) -> str:
        """Say in one line what failed and what to do."""
        shown = "; ".join(", ".join(f"{k} {v}" for k, v in row.items()) for row in self.rows.head(3).to_dicts())
        return f"{self.gate}: {self.says}" + (f" ({shown})" if shown else "") + f". {self.remedy}".rstrip(". ")


Gate = Callable[[Lake, Recipe, str], GateResult]
"""A gate of a release: the tables, the recipe with its release, and the teacher."""


def waivers_of(release: Release, gate: str) -> dict[str, str]:
    """Return the reasons by source for which a gate is waived."""
    return {waiver.source: waiver.reason for waiver in release.gates.waive if waiver.gate == gate}


def latest_version(lake: Lake, teacher: str) -> dict[str, Any] | None:
    """Return the row of `release_versions` that was made last; None when there is none."""
    rows = lake.scan(RELEASE_VERSIONS, teacher=teacher).sort("made_at").collect()
    return rows.row(-1, named=True) if rows.height else None


def require_version(lake: Lake, recipe: Recipe, teacher: str) -> dict[str, Any]:
    """Return the row of `release_versions` that was made last, of which reasoning_dataset has the rows.

    Raises:
        ReleaseError: There is none, or reasoning_dataset has other rows.
    """
    name, version = release_of(recipe).name, latest_version(lake, teacher)
    if version is None:
        raise ReleaseError(f"no version of {name} was made for {teacher}: materialize reasoning_dataset")
    rows = int(lake.scan(REASONING_DATASET, teacher=teacher).select(pl.len()).collect().item())
    if rows != version["rows"]:
        raise ReleaseError(
            f"reasoning_dataset has {rows:,} rows for {teacher}, and version {version['version']} of {name} has "
            f"{version['rows']:,}: materialize reasoning_dataset again"
        )
    return version
