"""The partitions by state, the rows and the cost of every asset."""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import dagster as dg
import polars as pl

from openthoughts_dagster.defs.asset_entry import AssetEntry
from openthoughts_dagster.defs.catalogue import entries_of
from openthoughts_dagster.defs.waiting import waiting_partitions
from openthoughts_dagster.lake import COMPLETIONS, Lake, LakeError, Table
from openthoughts_dagster.recipe import Recipe

T = TypeVar("T")


def describe_waiting(recipe: Recipe, instance: dg.DagsterInstance) -> list[str]:
    """Return a line for each partition that waits for a person, with what it would ask and its price."""
    return [
        f"{entry.name} {partition} waits for a person, because its settings changed: {says}"
        for entry in entries_of(recipe)
        if entry.pays_models and entry.partitions.columns
        for partition, says in waiting_partitions(instance, dg.AssetKey(entry.name))
    ]


def count_states(recipe: Recipe, lake: Lake, instance: dg.DagsterInstance) -> tuple[list[dict[str, Any]], list[str]]:
    """Count the partitions of every asset by state.

    Returns:
        Rows, and a line for each damaged table. There is a row for each partitioned asset of the catalogue, and for
        assets that ask teachers also a row for each teacher. A number that a damaged table should give is None.
    """
    tables = _Tables(lake)
    costs, rows = tables.read(_costs) or {}, []
    for entry in entries_of(recipe):
        if not entry.partitions.columns or entry.table is None:
            continue
        keys = entry.partitions.known(recipe, instance)
        rows.append(_row(tables, instance, entry, keys, costs.get((entry.name, None))))
        for teacher in recipe.teachers if entry.runs == "teacher" and "teacher" in entry.partitions.columns else []:
            own = [key for key in keys if entry.partitions.labels(key)["teacher"] == teacher.name]
            rows.append(_row(tables, instance, entry, own, costs.get((entry.name, teacher.name)), teacher.name))
    return rows, list(tables.problems)


class _Tables:
    """The lake, read table by table, so that a damaged table does not stop the reading of the others."""

    def __init__(self, lake: Lake) -> None:
        self._lake = lake
        self.problems: dict[str, None] = {}

    def read(self, read: Callable[[Lake], T]) -> T | None:
        """Call `read` with the lake. When a table is damaged, note this in `problems` and return None."""
        # A new object has scanned no other table, so damage is in this one.
        lake = Lake(self._lake.root, self._lake.options)
        try:
            with lake.named_damage():
                return read(lake)
        except LakeError as error:
            self.problems[str(error)] = None
            return None

    def count(self, table: Table, **partition: str) -> int | None:
        """Count the rows of a table. Returns None when it is damaged."""
        return self.read(lambda lake: int(lake.scan(table, **partition).select(pl.len()).collect().item()))


def _row(
    tables: _Tables,
    instance: dg.DagsterInstance,
    entry: AssetEntry,
    partitions: Sequence[str],
    cost: str | None,
    teacher: str = "",
) -> dict[str, Any]:
    key, wanted = dg.AssetKey(entry.name), set(partitions)
    made = instance.get_materialized_partitions(key) & wanted
    storage = instance.event_log_storage
    unfinished = storage.get_latest_asset_partition_materialization_attempts_without_materializations(key)
    runs = {partition: run for partition, (run, _) in unfinished.items() if partition in wanted}
    records = {run: instance.get_run_by_id(run) for run in set(runs.values())}
    running = {partition for partition, run in runs.items() if (found := records[run]) and not found.is_finished}
    failed = {partition for partition, run in runs.items() if (found := records[run]) and found.is_failure_or_canceled}
    assert entry.table is not None
    return {
        "asset": f"  by {teacher}" if teacher else entry.name,
        "partitions": len(wanted),
        "made": len(made),
        "running": len(running),
        "failed": len(failed),
        "missing": len(wanted - made - running - failed),
        "rows": tables.count(entry.table, **({"teacher": teacher} if teacher else {})),
        "cost": cost,
    }


def _costs(lake: Lake) -> dict[tuple[str, str | None], str]:
    """Sum the money by asset, and by asset and model, in each currency. Without prices it sums the hours of engines."""
    spent = (
        lake.scan(COMPLETIONS)
        .group_by("asset", "asked_as", "currency")
        .agg(pl.col("cost").sum(), hours=pl.col("engine_seconds").sum() / 3600)
        .collect(engine="streaming")
    )
    costs: dict[tuple[str, str | None], str] = {}
    for (asset,), rows in spent.partition_by("asset", as_dict=True).items():
        costs[asset, None] = _format_cost(rows)
        for (model,), own in rows.partition_by("asked_as", as_dict=True).items():
            costs[asset, model] = _format_cost(own)
    return costs


def _format_cost(rows: pl.DataFrame) -> str:
    money = rows.filter(pl.col("cost") > 0).group_by("currency").agg(pl.col("cost").sum()).sort("currency")
    says = " + ".join(f"{cost:,.2f} {currency}" for currency, cost in money.iter_rows())
    return says or f"{rows['hours'].sum():,.2f} engine-h"
