"""The result of a gate, and what gates read of the recipe."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import polars as pl

from openthoughts_dagster.lake import REASONING_DATASET, RELEASE_VERSIONS, Lake
from openthoughts_dagster.recipe import Recipe, Release
from openthoughts_dagster.release.choosing import release_of
from openthoughts_dagster.release.errors import ReleaseError
from openthoughts_dagster.release.files import manifest_of, version_of
from openthoughts_dagster.release.record import read_record

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


def present_version(lake: Lake, recipe: Recipe, teacher: str) -> dict[str, Any] | None:
    """Return the row of `release_versions` of the rows that reasoning_dataset has now; None when there is none.

    The version is computed from the rows again, so that it is not that of rows which were there before.
    """
    rows = lake.scan(REASONING_DATASET, teacher=teacher).collect()
    if rows.is_empty():
        return None
    made = lake.scan(RELEASE_VERSIONS, teacher=teacher).filter(version=version_of(manifest_of(rows)))
    name, known = release_of(recipe).name, made.sort("made_at").collect().to_dicts()
    return next((row for row in reversed(known) if read_record(row["record"])["name"] == name), None)


def require_version(lake: Lake, recipe: Recipe, teacher: str) -> dict[str, Any]:
    """Return what `present_version` does.

    Raises:
        ReleaseError: There is no such version.
    """
    version = present_version(lake, recipe, teacher)
    if version is None:
        raise ReleaseError(
            f"no version of {release_of(recipe).name} has the rows that reasoning_dataset has for {teacher}: "
            "materialize reasoning_dataset"
        )
    return version
