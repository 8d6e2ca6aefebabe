"""The decisions: which source and which teacher make the better student."""

from typing import Any, Literal

import dagster as dg
import polars as pl

from openthoughts_dagster.defs.asset_entry import AssetEntry
from openthoughts_dagster.defs.leaderboard import leaderboard_rows
from openthoughts_dagster.defs.metadata import bars, table
from openthoughts_dagster.defs.resources import LakeResource
from openthoughts_dagster.defs.settings import Settings
from openthoughts_dagster.defs.steps import resumable
from openthoughts_dagster.evaluation import ranking
from openthoughts_dagster.lake import BENCHMARK_SCORES, frame_hash
from openthoughts_dagster.recipe import Recipe


def ranking_asset(entry: AssetEntry, recipe: Recipe, _: Settings) -> dg.AssetsDefinition:
    """The asset that ranks the sources or the teachers, whichever its table is of, by the scores of their students."""
    assert entry.table is not None
    written = entry.table
    by: Literal["source", "teacher"] = "source" if "source" in written.columns else "teacher"

    @dg.asset(
        **entry.arguments(recipe),
        description=f"Which {by} makes the better student: mean benchmark scores with standard errors over items, "
        "and for each neighbour in the ranking whether the paired difference exceeds two standard errors.",
    )
    @resumable
    def ranked(lake: LakeResource) -> dg.MaterializeResult:
        tables = lake.open()
        rows = ranking(tables.scan(BENCHMARK_SCORES).collect(), by)
        tables.replace(written, rows)
        return dg.MaterializeResult(data_version=dg.DataVersion(frame_hash(rows)), metadata=_metadata(rows, by))

    return ranked


def _metadata(rows: pl.DataFrame, by: str) -> dict[str, Any]:
    """The leaderboard, on what it was compared, and a picture of the scores with their errors."""
    incomplete = sorted(rows.filter(~pl.col("complete"))[by])
    return {
        "ranking": table(leaderboard_rows(rows, by)),
        "items_compared": int(rows["items"].max() or 0),  # type: ignore[arg-type]
        "cells_compared": int(rows["cells"].max() or 0),  # type: ignore[arg-type]
        "with_cells_missing": ", ".join(incomplete) or "none",
        "plot": bars(
            rows[by].to_list(),
            rows["score"].fill_null(0).to_list(),
            rows["standard_error"].fill_null(0).to_list(),
            title=f"Students by {by} (2 standard errors)",
        ),
        "dagster/row_count": rows.height,
    }
