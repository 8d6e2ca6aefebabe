"""Partitions by state, rows and cost of every asset."""

from collections.abc import Sequence
from typing import Any

import dagster as dg
import polars as pl

from openthoughts_dagster.defs.partitions import sources
from openthoughts_dagster.lake import (
    BENCHMARK_SCORES,
    COMPLETIONS,
    DEDUPED_QUESTIONS,
    RAW_SOURCES,
    SCORED_QUESTIONS,
    STUDENT_CHECKPOINTS,
    TEACHER_ANSWERS,
    Lake,
)
from openthoughts_dagster.recipe import Recipe

_BY_SOURCE = {"raw_sources": RAW_SOURCES, "scored_questions": SCORED_QUESTIONS, "deduped_questions": DEDUPED_QUESTIONS}
_BY_CELL = {
    "teacher_answers": TEACHER_ANSWERS,
    "student_checkpoint": STUDENT_CHECKPOINTS,
    "benchmark_scores": BENCHMARK_SCORES,
}


def states(recipe: Recipe, lake: Lake, instance: dg.DagsterInstance) -> list[dict[str, Any]]:
    """A row for each asset, and for `teacher_answers` one for each teacher."""
    names = instance.get_dynamic_partitions(str(sources.name))
    costs = _costs(lake)
    rows = [_row(lake, instance, asset, table, names, costs.get((asset, None))) for asset, table in _BY_SOURCE.items()]
    for asset, table in _BY_CELL.items():
        cells = [f"{source}|{teacher.name}" for source in names for teacher in recipe.teachers]
        rows.append(_row(lake, instance, asset, table, cells, costs.get((asset, None))))
        if asset == "teacher_answers":
            rows += [
                _row(
                    lake,
                    instance,
                    asset,
                    table,
                    [f"{source}|{teacher.name}" for source in names],
                    costs.get((asset, teacher.name)),
                    teacher.name,
                )
                for teacher in recipe.teachers
            ]
    return rows


def _row(
    lake: Lake,
    instance: dg.DagsterInstance,
    asset: str,
    table: Any,
    partitions: Sequence[str],
    cost: str | None,
    teacher: str = "",
) -> dict[str, Any]:
    key, wanted = dg.AssetKey(asset), set(partitions)
    made = instance.get_materialized_partitions(key) & wanted
    storage = instance.event_log_storage
    unfinished = storage.get_latest_asset_partition_materialization_attempts_without_materializations(key)
    runs = {partition: run for partition, (run, _) in unfinished.items() if partition in wanted}
    records = {run: instance.get_run_by_id(run) for run in set(runs.values())}
    running = {partition for partition, run in runs.items() if (found := records[run]) and not found.is_finished}
    failed = {partition for partition, run in runs.items() if (found := records[run]) and found.is_failure_or_canceled}
    scan = lake.scan(table, **({"teacher": teacher} if teacher else {}))
    return {
        "asset": f"  by {teacher}" if teacher else asset,
        "partitions": len(wanted),
        "made": len(made),
        "running": len(running),
        "failed": len(failed),
        "missing": len(wanted - made - running - failed),
        "rows": scan.select(pl.len()).collect().item(),
        "cost": cost,
    }


def _costs(lake: Lake) -> dict[tuple[str, str | None], str]:
    """Money by asset, and by asset and model; engine hours where no price is known."""
    spent = (
        lake.scan(COMPLETIONS)
        .group_by("asset", "asked_as", "currency")
        .agg(pl.col("cost").sum(), hours=pl.col("engine_seconds").sum() / 3600)
        .collect(engine="streaming")
    )
    by_asset = spent.group_by("asset", "currency").agg(pl.col("cost").sum(), pl.col("hours").sum())
    costs: dict[tuple[str, str | None], str] = {}
    for row in by_asset.iter_rows(named=True):
        costs[row["asset"], None] = _money(row)
    for row in spent.iter_rows(named=True):
        costs[row["asset"], row["asked_as"]] = _money(row)
    return costs


def _money(row: dict[str, Any]) -> str:
    return f"{row['cost']:,.2f} {row['currency']}" if row["cost"] else f"{row['hours']:,.2f} engine-h"
