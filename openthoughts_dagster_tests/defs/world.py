"""A deployment in which runs are reported, not run: what automation does with them is real."""

from datetime import UTC, datetime, timedelta
from itertools import product
from pathlib import Path
from typing import Any
from uuid import uuid4

import dagster as dg
import yaml
from dagster._core.definitions.asset_checks.asset_check_evaluation import AssetCheckEvaluationTargetMaterializationData
from dagster._core.definitions.asset_daemon_cursor import AssetDaemonCursor
from dagster._core.events import AssetMaterializationPlannedData, StepMaterializationData

from openthoughts_dagster.defs.build import build_definitions
from openthoughts_dagster.defs.settings import Settings
from openthoughts_dagster.recipe import load_recipe
from openthoughts_dagster.recipe.loading import SHIPPED

QUESTIONS = ("raw_sources", "scored_questions", "deduped_questions")
CELLS = ("teacher_answers", "student_checkpoint", "benchmark_scores")
NOON = datetime(2030, 1, 1, 12, tzinfo=UTC)
NIGHTLY = "0 2 * * *"


class World:
    """Our own definitions over an instance, whose assets are made by reporting what a run would report."""

    def __init__(self, folder: Path, instance: dg.DagsterInstance) -> None:
        self.instance, self._folder, self._now = instance, folder, NOON
        self._cursor: AssetDaemonCursor | None = None
        self.recipe(teachers=["t1", "t2"])
        self.instance.add_dynamic_partitions("source", ["a", "b"])
        self.made("quickstart_models", None)
        for source in ("a", "b"):
            self.curated(source)
            for asset, teacher in product(CELLS, ("t1", "t2")):
                self.made(asset, f"{source}|{teacher}")
        self.made("source_ranking", None)
        self.made("teacher_ranking", None)
        self.made("generation_costs", None)
        assert self.tick() == set()

    def recipe(self, teachers: list[str], students: str | None = None) -> None:
        """Load the code location with these teachers, and this schedule for students."""
        document = yaml.safe_load((SHIPPED / "quickstart" / "recipe.yaml").read_text())
        document["teachers"] = [document["teachers"][0] | {"name": name} for name in teachers]
        document["automation"], document["studies"] = {"students": students}, []
        (self._folder / "recipe.yaml").write_text(yaml.safe_dump(document))
        settings = Settings(str(self._folder), self._folder, str(self._folder / "lake"))
        self.loaded = load_recipe(settings.recipe, settings.variables())
        self.definitions = build_definitions(self.loaded, settings)

    def planned(self, *assets: str, partition: str) -> str:
        """A run for the partition of these assets started; its id."""
        run = self.instance.create_run_for_job(
            self.definitions.resolve_implicit_global_asset_job_def(),
            asset_selection=frozenset(dg.AssetKey(asset) for asset in assets),
            tags={"dagster/partition": partition},
            status=dg.DagsterRunStatus.STARTED,
        )
        return run.run_id

    def failed(self, asset: str, partition: str) -> "World":
        """A run for the asset's partition failed."""
        run = self.instance.get_run_by_id(self.planned(asset, partition=partition))
        assert run is not None
        self.instance.report_run_failed(run)
        return self

    def made(
        self, asset: str, partition: str | None, version: str = "1", checks: bool = True, run_id: str = ""
    ) -> "World":
        """A run materialized the asset's partition with this content, and its checks passed or did not."""
        key = dg.AssetKey(asset)
        if not run_id:
            run_id = str(uuid4())
            planned = AssetMaterializationPlannedData(key, partition)
            self._report(run_id, dg.DagsterEventType.ASSET_MATERIALIZATION_PLANNED, planned)
        tags = {"dagster/data_version": version}
        made = StepMaterializationData(dg.AssetMaterialization(key, partition=partition, tags=tags))
        self._report(run_id, dg.DagsterEventType.ASSET_MATERIALIZATION, made)
        [record] = self.instance.fetch_materializations(key, limit=1).records
        target = AssetCheckEvaluationTargetMaterializationData(
            storage_id=record.storage_id, run_id=run_id, timestamp=record.timestamp
        )
        graph = self.definitions.resolve_asset_graph()
        for check in (check for check in graph.get_check_keys_for_assets({key}) if graph.get(check).blocking):
            evaluation = dg.AssetCheckEvaluation(
                key, check.name, checks, partition=partition, blocking=True, target_materialization_data=target
            )
            self._report(run_id, dg.DagsterEventType.ASSET_CHECK_EVALUATION, evaluation)
        return self

    def _report(self, run_id: str, kind: dg.DagsterEventType, data: Any) -> None:
        event = dg.DagsterEvent(event_type_value=kind.value, event_specific_data=data, job_name="a_job")
        self.instance.report_dagster_event(event, run_id=run_id)

    def curated(self, source: str, version: str = "1", run_id: str = "") -> "World":
        """The source went down to its selected questions, in a run each, or in one."""
        for asset in QUESTIONS:
            self.made(asset, source, version, run_id=run_id)
        return self

    def landed(self, source: str) -> "World":
        """A new source went down to its selected questions, each step requested by the one before."""
        self.instance.add_dynamic_partitions("source", [source])
        self.curated(source)
        return self

    def tick(self, hours: float = 0.01) -> set[str]:
        """One evaluation, `hours` after the last: what it requests, as asset or asset:partition."""
        self._now += timedelta(hours=hours)
        result = dg.evaluate_automation_conditions(
            self.definitions, self.instance, evaluation_time=self._now, cursor=self._cursor
        )
        self._cursor = result.cursor
        return {
            key.to_user_string() + (f":{partition}" if partition else "")
            for key in self.definitions.resolve_asset_graph().get_all_asset_keys()
            for partition in result.get_requested_partitions(key)
        }
