"""How long the daemon's ticks take over a large grid: 500 and 5,000 sources with 10 teachers each, on SQLite.

    .venv/bin/python benchmarks/automation.py [--json FILE]

Every partition of every asset is materialized; then one source in a hundred changes, and the automation is evaluated.
Events are written once through Dagster and copied row by row in SQL, because reporting 165,000 of them takes an hour.
The peer is Dagster's own `AutomationCondition.eager()` on the same assets, the same instance, in the same run.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import dagster as dg
import sqlalchemy as db
import yaml
from dagster._core.storage.event_log.schema import AssetEventTagsTable, SqlEventLogStorageTable

from openthoughts_dagster.defs.build import build_definitions
from openthoughts_dagster.defs.settings import Settings
from openthoughts_dagster.recipe import load_recipe
from openthoughts_dagster.recipe.loading import SHIPPED

TEACHERS = 10
SIZES = (500, 5000)
BY_SOURCE = ("raw_sources", "scored_questions", "deduped_questions")
BY_CELL = ("teacher_answers", "student_checkpoint", "benchmark_scores")


def definitions(folder: Path) -> dg.Definitions:
    """The quickstart with ten teachers, and students nightly so that every condition is evaluated."""
    recipe = yaml.safe_load((SHIPPED / "quickstart" / "recipe.yaml").read_text())
    recipe["teachers"] = [recipe["teachers"][0] | {"name": f"teacher-{number}"} for number in range(TEACHERS)]
    recipe["automation"] = {"students": "0 2 * * *"}
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    settings = Settings(str(folder), folder, str(folder / "lake"))
    return build_definitions(load_recipe(settings.recipe, settings.variables()), settings)


def eager(ours: dg.Definitions) -> dg.Definitions:
    """The peer: the same assets without our conditions, each `eager()`."""

    def with_eager(spec: dg.AssetSpec) -> dg.AssetSpec:
        condition = dg.AutomationCondition.eager() if spec.deps else None
        return spec.replace_attributes(automation_condition=condition)

    assets = [asset for asset in ours.assets or [] if isinstance(asset, dg.AssetsDefinition)]
    return dg.Definitions([asset.map_asset_specs(with_eager) for asset in assets], resources=ours.resources)


def fill(instance: dg.DagsterInstance, sources: list[str]) -> None:
    """Materialize everything: one event of each asset through Dagster, the others as copies of its rows."""
    for start in range(0, len(sources), 500):
        instance.add_dynamic_partitions("source", sources[start : start + 500])
    for name in ("quickstart_models", "source_ranking", "teacher_ranking"):
        change(instance, name, None)
    cells = [f"{source}|teacher-{number}" for source in sources for number in range(TEACHERS)]
    for name in BY_SOURCE:
        _copy(instance, name, sources)
    for name in BY_CELL:
        _copy(instance, name, cells)


def change(instance: dg.DagsterInstance, asset: str, partition: str | None, version: str = "1") -> None:
    tags = {"dagster/data_version": version}
    instance.report_runless_asset_event(dg.AssetMaterialization(asset, partition=partition, tags=tags))


def _copy(instance: dg.DagsterInstance, asset: str, partitions: list[str]) -> None:
    change(instance, asset, partitions[0])
    events, tags = SqlEventLogStorageTable, AssetEventTagsTable
    with instance.event_log_storage.index_connection() as connection:  # type: ignore[attr-defined]
        key = dg.AssetKey(asset).to_string()
        event = dict(connection.execute(db.select(events).where(events.c.asset_key == key)).mappings().one())
        [tag] = connection.execute(db.select(tags).where(tags.c.event_id == event.pop("id"))).mappings().all()
        top = connection.execute(db.select(db.func.max(events.c.id))).scalar_one()
        tag = {name: value for name, value in tag.items() if name != "id"}
        rows = [
            event
            | {"id": top + number, "partition": partition}
            | {"event": event["event"].replace(json.dumps(partitions[0]), json.dumps(partition))}
            for number, partition in enumerate(partitions[1:], 1)
        ]
        for start in range(0, len(rows), 5000):
            chunk = rows[start : start + 5000]
            connection.execute(events.insert(), chunk)
            connection.execute(tags.insert(), [tag | {"event_id": row["id"]} for row in chunk])


def tick_seconds(ours: dg.Definitions, instance: dg.DagsterInstance, sources: list[str]) -> tuple[float, int]:
    """Seconds of a tick after one source in a hundred changed, the best of three, and what it requested."""
    cursor = dg.evaluate_automation_conditions(ours, instance).cursor
    best, requested = float("inf"), 0
    for version in ("2", "3", "4"):
        for source in sources[::100]:
            change(instance, "deduped_questions", source, version + str(id(ours)))
        start = time.monotonic()
        result = dg.evaluate_automation_conditions(ours, instance, cursor=cursor)
        best = min(best, time.monotonic() - start)
        cursor = result.cursor
        requested = max(requested, result.get_num_requested(dg.AssetKey("teacher_answers")))
        cursor = dg.evaluate_automation_conditions(ours, instance, cursor=cursor).cursor  # an idle tick
    return best, requested


@contextmanager
def _instance() -> Iterator[tuple[dg.DagsterInstance, Path]]:
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder) / "dagster"
        home.mkdir()
        with dg.DagsterInstance.local_temp(str(home)) as instance:
            yield instance, Path(folder)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    options = parser.parse_args()
    seconds: dict[tuple[str, int], float] = {}
    for size in SIZES:
        with _instance() as (instance, folder):
            sources = [f"source-{number:05}" for number in range(size)]
            start = time.monotonic()
            fill(instance, sources)
            print(f"{size} sources: filled in {time.monotonic() - start:.0f} s", flush=True)
            ours = definitions(folder / "recipe")
            for who, defs in {"ours": ours, "eager": eager(ours)}.items():
                seconds[who, size], requested = tick_seconds(defs, instance, sources)
                print(f"{size} sources, {who}: {seconds[who, size]:.2f} s, requested {requested}", flush=True)


if __name__ == "__main__":
    main()
