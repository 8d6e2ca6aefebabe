"""A release as the asset reasoning_dataset leaves it: its tables, and a version with its folder."""

from pathlib import Path

import polars as pl

from openthoughts_dagster.lake import Lake
from openthoughts_dagster.recipe import Recipe
from openthoughts_dagster.release import MadeRelease, ReleasePlace, make_release
from openthoughts_dagster.storage import Folders
from openthoughts_dagster_tests.release.sums import TEACHER

NOTHING = pl.DataFrame(schema={"benchmark": pl.String, "question": pl.String, "split": pl.String})


def publish(lake: Lake, recipe: Recipe, folder: Path, benchmarks: pl.DataFrame | None = None) -> MadeRelease:
    """Make the release of the teacher below a folder, with its card."""
    place = ReleasePlace(str(folder), folder, Folders(folder / "cache"))
    return make_release(lake, recipe, TEACHER, place, benchmarks=benchmarks)
