"""The costs of all completions."""

from typing import Any

import dagster as dg
import polars as pl

from openthoughts_dagster.defs.asset_entry import AssetEntry
from openthoughts_dagster.defs.metadata import draw_stacked_bars, table
from openthoughts_dagster.defs.resources import LakeResource
from openthoughts_dagster.defs.settings import Settings
from openthoughts_dagster.defs.steps import resumable
from openthoughts_dagster.generation.usage import sum_generation_costs
from openthoughts_dagster.lake import GENERATION_COSTS, frame_hash
from openthoughts_dagster.recipe import Recipe

_SHOWN = 100
_COLUMNS = {
    **{name: name for name in ("day", "asset", "source", "teacher", "model", "completions")},
    "completion_tokens": "tokens",
    "engine_seconds": "time",
    "cost": "cost",
}
"""The columns that fit the page, by what they are called there."""


def generation_costs_asset(entry: AssetEntry, recipe: Recipe, _: Settings) -> dg.AssetsDefinition:
    """Make the asset that sums the costs in the ledger."""

    @dg.asset(**entry.arguments(recipe))
    @resumable
    def costs(lake: LakeResource) -> dg.MaterializeResult:
        """Completions, tokens, engine time and money by day, asset, source, teacher and model, from the ledger.

        Failed requests count, and so does what a process committed before it died. Money is at the price of the day.
        """
        tables = lake.open()
        rows = sum_generation_costs(tables)
        tables.replace(GENERATION_COSTS, rows)
        return dg.MaterializeResult(data_version=dg.DataVersion(frame_hash(rows)), metadata=_metadata(rows))

    return costs


def _metadata(costs: pl.DataFrame) -> dict[str, Any]:
    """Make the totals, the latest days, and a plot of what each model took each day."""
    # Prices are optional: without them the plot shows time.
    by, unit = ("cost", "cost") if costs["cost"].sum() else ("engine_seconds", "engine seconds")
    days = costs.group_by("day", "model").agg(pl.col(by).sum()).sort("day", "model")
    latest = costs.sort("day", descending=True, maintain_order=True).head(_SHOWN)
    return {
        "dagster/row_count": costs.height,
        "completions": int(costs["completions"].sum()),
        "completion_tokens": int(costs["completion_tokens"].sum()),
        "engine_hours": round(float(costs["engine_seconds"].to_numpy().sum()) / 3600, 3),
        "cost": table(costs.group_by("currency").agg(pl.col("cost").sum())),
        "costs": table(latest.select(list(_COLUMNS)).rename(_COLUMNS), {"time": "s"}),
        "plot": draw_stacked_bars(
            [str(day) for day in days["day"]], days["model"].to_list(), days[by].to_list(), f"{unit} by model and day"
        ),
    }
