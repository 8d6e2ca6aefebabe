"""How long the daemon's ticks take over a large grid: 500 and 5,000 sources with 10 teachers each, on SQLite.

    .venv/bin/python benchmarks/automation.py [--json FILE]

Every partition of every asset is materialized and checked. Then one source in a hundred gets other questions, and a
tick is timed: both automation sensors with the reading and writing of their cursors, or the landing sensor over as many
landed folders. Events are written once through Dagster and copied row by row in SQL, since reporting a million takes
hours. The peer is Dagster's own `AutomationCondition.eager()` on the same assets, in the same instance and run.
"""

import argparse
import json
import logging
import tempfile
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import dagster as dg
import sqlalchemy as db
import yaml
from dagster._core.definitions.asset_checks.asset_check_evaluation import AssetCheckEvaluationTargetMaterializationData
from dagster._core.definitions.automation_tick_evaluation_context import AutomationTickEvaluationContext
from dagster._core.events import StepMaterializationData
from dagster._core.storage.event_log.schema import (
    AssetCheckExecutionsTable,
    AssetEventTagsTable,
    SqlEventLogStorageTable,
)
from dagster._daemon.asset_daemon import (
    asset_daemon_cursor_from_instigator_serialized_cursor,
    asset_daemon_cursor_to_instigator_serialized_cursor,
)

from openthoughts_dagster.defs.build import build_definitions
from openthoughts_dagster.defs.settings import Settings
from openthoughts_dagster.recipe import load_recipe
from openthoughts_dagster.recipe.loading import SHIPPED

TEACHERS = 10
SIZES = (500, 5000)
BY_SOURCE = ("raw_sources", "scored_questions", "deduped_questions")
BLOCKING = {
    "raw_sources": ("raw_rows_add_up", "raw_questions_are_whole"),
    "scored_questions": ("scored_are_the_raw_questions",),
    "deduped_questions": ("curated_rows_add_up", "curated_questions_are_unique", "no_benchmark_questions"),
    "teacher_answers": ("answers_are_complete",),
    "student_checkpoint": ("checkpoint_is_whole",),
}
_ANSWERS, _LOG = dg.AssetKey("teacher_answers"), logging.getLogger("benchmark")
BY_CELL = ("teacher_answers", "student_checkpoint", "benchmark_scores")


def definitions(folder: Path, landing: str | None = None) -> dg.Definitions:
    """The quickstart with ten teachers, and students nightly so that every condition is evaluated."""
    recipe = yaml.safe_load((SHIPPED / "quickstart" / "recipe.yaml").read_text())
    recipe["teachers"] = [recipe["teachers"][0] | {"name": f"teacher-{number}"} for number in range(TEACHERS)]
    recipe["automation"], recipe["studies"] = {"students": "0 2 * * *"}, []
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    settings = Settings(str(folder), folder, str(folder / "lake"), landing=landing)
    return build_definitions(load_recipe(settings.recipe, settings.variables()), settings)


def eager(ours: dg.Definitions) -> dg.Definitions:
    """The peer: the same assets without our conditions, each `eager()`."""

    def with_eager(spec: dg.AssetSpec) -> dg.AssetSpec:
        condition = dg.AutomationCondition.eager() if spec.deps else None
        return spec.replace_attributes(automation_condition=condition)

    assets = [asset for asset in ours.assets or [] if isinstance(asset, dg.AssetsDefinition)]
    return dg.Definitions([asset.map_asset_specs(with_eager) for asset in assets], resources=ours.resources)


def assets_of(ours: dg.Definitions, name: str) -> list[str]:
    """What a sensor looks at."""
    sensor = ours.get_sensor_def(name)
    assert isinstance(sensor, dg.AutomationConditionSensorDefinition)
    return sorted(key.to_user_string() for key in sensor.asset_selection.resolve(ours.resolve_asset_graph()))


def fill(instance: dg.DagsterInstance, sources: list[str]) -> None:
    """Materialize and check everything: one event of each kind through Dagster, the others as copies of its rows."""
    for start in range(0, len(sources), 500):
        instance.add_dynamic_partitions("source", sources[start : start + 500])
    for name in ("quickstart_models", "source_ranking", "teacher_ranking", "generation_costs"):
        change(instance, name, None)
    cells = [f"{source}|teacher-{number}" for source in sources for number in range(TEACHERS)]
    for name in BY_SOURCE + BY_CELL:
        _copies(instance, name, sources if name in BY_SOURCE else cells)


def change(instance: dg.DagsterInstance, asset: str, partition: str | None, version: str = "1") -> None:
    """The partition was materialized with this content, and its blocking checks passed."""
    key, run_id = dg.AssetKey(asset), str(uuid4())
    tags = {"dagster/data_version": version}
    made = StepMaterializationData(dg.AssetMaterialization(key, partition=partition, tags=tags))
    _report(instance, run_id, dg.DagsterEventType.ASSET_MATERIALIZATION, made)
    [record] = instance.fetch_materializations(key, limit=1).records
    target = AssetCheckEvaluationTargetMaterializationData(
        storage_id=record.storage_id, run_id=run_id, timestamp=record.timestamp
    )
    for check in BLOCKING.get(asset, ()):
        evaluation = dg.AssetCheckEvaluation(
            key, check, True, partition=partition, blocking=True, target_materialization_data=target
        )
        _report(instance, run_id, dg.DagsterEventType.ASSET_CHECK_EVALUATION, evaluation)


def _report(instance: dg.DagsterInstance, run_id: str, kind: dg.DagsterEventType, data: Any) -> None:
    event = dg.DagsterEvent(event_type_value=kind.value, event_specific_data=data, job_name="a_job")
    instance.report_dagster_event(event, run_id=run_id)


def _copies(instance: dg.DagsterInstance, asset: str, partitions: list[str]) -> None:
    """The rows of the first partition's materialization and checks, once more for each other partition."""
    change(instance, asset, partitions[0])
    events, tags, checks = SqlEventLogStorageTable, AssetEventTagsTable, AssetCheckExecutionsTable
    with instance.event_log_storage.index_connection() as connection:  # type: ignore[attr-defined]
        key = dg.AssetKey(asset).to_string()
        own = db.select(events).where(events.c.asset_key == key).order_by(events.c.id)
        [event] = [
            dict(row)
            for row in connection.execute(own).mappings()
            if row["dagster_event_type"] == dg.DagsterEventType.ASSET_MATERIALIZATION.value
        ]
        rows = [dict(row) for row in connection.execute(db.select(checks).where(checks.c.asset_key == key)).mappings()]
        [tag] = [dict(r) for r in connection.execute(db.select(tags).where(tags.c.event_id == event["id"])).mappings()]
        top = connection.execute(db.select(db.func.max(events.c.id))).scalar_one()
        for start in range(1, len(partitions), 5000):
            chunk = list(enumerate(partitions[start : start + 5000], start))
            connection.execute(
                events.insert(),
                [
                    event
                    | {"id": top + number, "partition": partition}
                    | {"event": event["event"].replace(json.dumps(partitions[0]), json.dumps(partition))}
                    for number, partition in chunk
                ],
            )
            values = {name: value for name, value in tag.items() if name != "id"}
            connection.execute(tags.insert(), [values | {"event_id": top + number} for number, _ in chunk])
            for row in rows:
                values = {name: value for name, value in row.items() if name != "id"}
                connection.execute(
                    checks.insert(),
                    [
                        values | {"partition": partition, "materialization_event_storage_id": top + number}
                        for number, partition in chunk
                    ],
                )


class Ticks:
    """The automation sensors of some definitions, evaluated as the daemon and the code server do."""

    def __init__(self, definitions: dg.Definitions, instance: dg.DagsterInstance, targets: list[list[str]]) -> None:
        self._graph, self._instance = definitions.resolve_asset_graph(), instance
        self._targets = [dg.AssetSelection.assets(*names) for names in targets]
        self._cursors: list[str | None] = [None] * len(targets)

    def tick(self) -> tuple[float, int]:
        """Seconds of one evaluation of all sensors, and how many partitions of teacher_answers they request."""
        start, requested = time.monotonic(), 0
        for index, target in enumerate(self._targets):
            cursor = asset_daemon_cursor_from_instigator_serialized_cursor(self._cursors[index], self._graph)
            context = AutomationTickEvaluationContext(
                evaluation_id=cursor.evaluation_id + 1,
                instance=self._instance,
                asset_graph=self._graph,
                cursor=cursor,
                materialize_run_tags={},
                observe_run_tags={},
                auto_observe_asset_keys=set(),
                asset_selection=target,
                asset_job_keys=set(),
                emit_backfills=False,
                default_condition=None,
                logger=_LOG,
            )
            requests, cursor, _ = context.evaluate()
            self._cursors[index] = asset_daemon_cursor_to_instigator_serialized_cursor(cursor)
            requested += sum(_ANSWERS in (request.asset_selection or ()) for request in requests)
        return time.monotonic() - start, requested


def automation_tick(ticks: Ticks, instance: dg.DagsterInstance, sources: list[str]) -> tuple[float, float, int]:
    """Seconds of a tick with a hundredth of the sources changed and of an idle one, best of three; and its requests."""
    ticks.tick()
    busy, idle, requested = [], [], 0
    for _ in range(3):
        version = str(time.monotonic_ns())
        for source in sources[::100]:
            change(instance, "deduped_questions", source, version)
        seconds, requested = ticks.tick()
        busy.append(seconds)
        idle.append(min(ticks.tick()[0] for _ in range(2)))
    return min(busy), min(idle), requested


def landing_tick(folder: Path, instance: dg.DagsterInstance, sources: list[str]) -> float:
    """Seconds of an idle tick of the landing sensor over one landed folder for each source, best of three."""
    for source in sources:
        place = folder / "landing" / source
        place.mkdir(parents=True)
        (place / "questions.jsonl").write_text(json.dumps({"question": f"Who is {source}?"}) + "\n")
        (place / "source.yaml").write_text("{reader: files, domain: math, path: questions.jsonl}")
        (place / "_SUCCESS").touch()
    ours, cursor, seconds = definitions(folder / "recipe", str(folder / "landing")), "", []
    while len(seconds) < 3:
        start = time.monotonic()
        result = ours.get_sensor_def("source_landing_sensor")(
            dg.build_sensor_context(instance, cursor, definitions=ours)
        )
        assert isinstance(result, dg.SensorResult)
        cursor = result.cursor or ""
        for request in result.dynamic_partitions_requests or ():
            instance.add_dynamic_partitions("source", list(request.partition_keys))
        if not result.run_requests and not result.dynamic_partitions_requests:
            seconds.append(time.monotonic() - start)
    return min(seconds)


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
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    seconds: dict[str, dict[int, float]] = {name: {} for name in ("tick", "idle", "eager", "landing")}
    for size in SIZES:
        with _instance() as (instance, folder):
            sources = [f"source-{number:05}" for number in range(size)]
            fill(instance, sources)
            ours = definitions(folder / "recipe")
            cheap, expensive = assets_of(ours, "cheap_assets"), assets_of(ours, "expensive_assets")
            ticks = Ticks(ours, instance, [cheap, expensive])
            seconds["tick"][size], seconds["idle"][size], requested = automation_tick(ticks, instance, sources)
            assert requested == len(sources[::100]) * TEACHERS, requested
            peer = Ticks(eager(ours), instance, [[*cheap, *expensive]])
            seconds["eager"][size], _, requested = automation_tick(peer, instance, sources)
            assert requested == len(sources[::100]) * TEACHERS, requested
            seconds["landing"][size] = landing_tick(folder, instance, sources)
    few, many = SIZES
    growth = {name: values[many] / values[few] for name, values in seconds.items()}
    figures = [
        ("tick_seconds_5000x10", seconds["tick"][many], "s", 3),
        ("tick_growth_500_to_5000", growth["tick"], "x", many / few),
        ("idle_tick_seconds_5000x10", seconds["idle"][many], "s", None),
        ("eager_tick_seconds_5000x10", seconds["eager"][many], "s", None),
        ("eager_tick_growth_500_to_5000", growth["eager"], "x", None),
        ("landing_tick_seconds_5000", seconds["landing"][many], "s", 3),
        ("landing_tick_growth_500_to_5000", growth["landing"], "x", many / few),
    ]
    print(f"{'figure':<34}{'value':>8}{'unit':>6}{'goal':>8}")
    for name, value, unit, goal in figures:
        print(f"{name:<34}{value:>8.2f}{unit:>6}{'' if goal is None else f'{goal:g}':>8}")
    if options.json:
        named = [dict(zip(("name", "value", "unit", "goal"), figure, strict=True)) for figure in figures]
        options.json.write_text(json.dumps(named, indent=1))


if __name__ == "__main__":
    main()
