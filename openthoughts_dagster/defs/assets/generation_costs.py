"""What all of it cost."""

import dagster as dg
import polars as pl

from openthoughts_dagster.defs.metadata import stacked_bars, table
from openthoughts_dagster.defs.resources import LakeResource
from openthoughts_dagster.defs.work import resumable
from openthoughts_dagster.generation.usage import generation_costs
from openthoughts_dagster.lake import GENERATION_COSTS, frame_hash

_SHOWN = 100


@dg.asset(
    name="generation_costs",
    deps=["scored_questions", "teacher_answers", "benchmark_scores"],
    group_name="answers",
    kinds={"deltalake", "polars"},
    owners=["team:data"],
)
@resumable
def generation_costs_asset(lake: LakeResource) -> dg.MaterializeResult:
    """Completions, tokens, engine time and money by day, asset, source and model, summed from the ledger.

    Counts what processes that died had committed, and failed requests; money is at the price of the day.
    """
    tables = lake.open()
    costs = generation_costs(tables)
    tables.replace(GENERATION_COSTS, costs)
    # Prices are optional: without one, time is what was spent.
    by = "cost" if costs["cost"].sum() else "engine_seconds"
    days = costs.group_by("day", "model").agg(pl.col(by).sum()).sort("day", "model")
    return dg.MaterializeResult(
        data_version=dg.DataVersion(frame_hash(costs)),
        metadata={
            "dagster/row_count": costs.height,
            "completions": int(costs["completions"].sum()),
            "completion_tokens": int(costs["completion_tokens"].sum()),
            "engine_hours": round(float(costs["engine_seconds"].to_numpy().sum()) / 3600, 3),
            "cost": table(costs.group_by("currency").agg(pl.col("cost").sum())),
            "costs": table(costs.sort("day", descending=True, maintain_order=True).head(_SHOWN)),
            "plot": stacked_bars(
                [str(day) for day in days["day"]], days["model"].to_list(), days[by].to_list(), f"{by} by model and day"
            ),
        },
    )
