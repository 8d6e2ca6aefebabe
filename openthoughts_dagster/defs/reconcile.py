"""Nightly schedules that request partitions whose inputs changed and that automation missed.

Automation conditions see changes between two of their evaluations and miss some, for example a change at the same
moment as a request, or one during a deployment. These schedules keep no state: they compare the content that an input
had when a partition's last run was planned with the content that it has now. Dagster also records inputs with each
materialization. But for an asset of several steps it records the version of whichever partition was made last, so this
record is not used.
"""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import dagster as dg

from openthoughts_dagster.defs.asset_entry import AssetEntry
from openthoughts_dagster.defs.jobs import QUESTIONS, STUDENTS
from openthoughts_dagster.defs.partitions import BY_CELL, BY_SOURCE
from openthoughts_dagster.recipe import Recipe

_VERSION = "dagster/data_version"
_MADE, _PLANNED = dg.DagsterEventType.ASSET_MATERIALIZATION, dg.DagsterEventType.ASSET_MATERIALIZATION_PLANNED
_REQUESTS, _LOOKUPS = 200, 2000
# A schedule and the job that it launches, for each kind of partition that has one.
_SCHEDULES = ((BY_SOURCE, "reconcile_questions", QUESTIONS), (BY_CELL, "reconcile_cells", STUDENTS))


@dataclass(frozen=True)
class Edge:
    """An asset and one of its inputs. `missing_too` says whether partitions that were never made are requested too."""

    child: AssetEntry
    parent: AssetEntry
    missing_too: bool = False

    def parent_partition(self, partition: str) -> str:
        """Return the partition of the input that a partition of the asset is made from."""
        return self.parent.partitions.key(self.child.partitions.labels(partition))


@dataclass(frozen=True)
class Stale:
    """A partition to make again, and the event with which its input changed."""

    child: str
    partition: str
    event: int

    def request(self) -> dg.RunRequest:
        """Request the run that makes it again. It runs once for each change of the input, also when it fails."""
        return dg.RunRequest(
            run_key=f"{self.child}:{self.partition}:{self.event}",
            partition_key=self.partition,
            asset_selection=[dg.AssetKey(self.child)],
            tags={"openthoughts/reconciled": self.child},
        )


def stale_partitions(instance: dg.DagsterInstance, edge: Edge, known: Sequence[str], seed: str = "") -> Iterator[Stale]:
    """Find the partitions whose input has other content than when their last run was planned.

    Partitions that are being made, or whose last run failed, are skipped.

    Args:
        instance: Dagster's instance.
        edge: The asset and its input.
        known: The partitions of the asset that are looked at.
        seed: Shuffles the partitions. Work is bounded, so another night reaches those that this one does not.
    """
    storage, child, parent = instance.event_log_storage, dg.AssetKey(edge.child.name), dg.AssetKey(edge.parent.name)
    made, planned = (storage.get_latest_storage_id_by_partition(child, kind) for kind in (_MADE, _PLANNED))
    inputs = storage.get_latest_storage_id_by_partition(parent, _MADE)
    unfinished = storage.get_latest_asset_partition_materialization_attempts_without_materializations(child)
    suspects: list[tuple[str, int, int]] = []
    for partition in known:
        event = inputs.get(edge.parent_partition(partition))
        if event is None or partition in unfinished:
            continue
        if partition not in made:
            if edge.missing_too:
                yield Stale(edge.child.name, partition, event)
            continue
        start = min(planned.get(partition, made[partition]), made[partition])
        if event > start:
            suspects.append((partition, start, event))
    random.Random(seed).shuffle(suspects)
    for partition, start, event in suspects[:_LOOKUPS]:
        source = edge.parent_partition(partition)
        then, now = (_version(instance, parent, source, before) for before in (start, None))
        if then != now and not _made_together(instance, parent, event, child, made[partition]):
            yield Stale(edge.child.name, partition, event)


def _version(instance: dg.DagsterInstance, asset: dg.AssetKey, partition: str, before: int | None) -> str | None:
    tags = instance.event_log_storage.get_latest_tags_by_partition(
        asset, _MADE, [_VERSION], asset_partitions=[partition], before_cursor=before
    )
    return tags.get(partition, {}).get(_VERSION)


def _made_together(
    instance: dg.DagsterInstance, parent: dg.AssetKey, event: int, child: dg.AssetKey, child_event: int
) -> bool:
    """Whether one run made the input and then the asset. Such a run was planned before both."""
    if child_event < event:
        return False
    runs = [
        instance.fetch_materializations(dg.AssetRecordsFilter(asset_key=key, storage_ids=[number]), limit=1)
        for key, number in ((parent, event), (child, child_event))
    ]
    return len({record.run_id for run in runs for record in run.records}) == 1


def edges_of(entries: Sequence[AssetEntry], recipe: Recipe) -> list[Edge]:
    """List the pairs of an asset and an input that are compared, in the order of the catalogue.

    They are assets that automation refreshes, and inputs of which each partition of the asset reads exactly one
    partition. Partitions that were never made are requested only when they are cheap.
    """
    by_name = {entry.name: entry for entry in entries}
    pairs = [
        (child, by_name[name])
        for child in entries
        if child.condition(recipe) is not None
        for name in child.inputs
        if name in by_name and child.partitions.reads_one(by_name[name].partitions)
    ]
    return [Edge(child, parent, missing_too=child.sensor == "cheap_assets") for child, parent in pairs]


def reconcile_schedules(entries: Sequence[AssetEntry], recipe: Recipe) -> list[dg.ScheduleDefinition]:
    """Make the schedules that request what automation missed, one for each kind of partition.

    There are none when the recipe's `automation.reconcile` is null.
    """
    cron = recipe.automation.reconcile
    if cron is None:
        return []
    edges = edges_of(entries, recipe)
    chosen = [(name, job, [edge for edge in edges if edge.child.partitions is kind]) for kind, name, job in _SCHEDULES]
    return [_schedule(recipe, cron, name, job, own) for name, job, own in chosen if own]


def all_stale(instance: dg.DagsterInstance, recipe: Recipe, edges: Sequence[Edge], seed: str) -> list[Stale]:
    """Find the stale partitions of all edges, among all partitions that should exist."""
    return [
        stale
        for edge in edges
        for stale in stale_partitions(instance, edge, edge.child.partitions.known(recipe, instance), seed)
    ]


def _schedule(recipe: Recipe, cron: str, name: str, job: str, edges: Sequence[Edge]) -> dg.ScheduleDefinition:
    @dg.schedule(
        name=name,
        job_name=job,
        cron_schedule=cron,
        execution_timezone=recipe.automation.timezone,
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description="Requests partitions whose inputs changed and that automation missed.",
    )
    def reconcile(context: dg.ScheduleEvaluationContext) -> list[dg.RunRequest] | dg.SkipReason:
        found = all_stale(context.instance, recipe, edges, str(context.scheduled_execution_time))
        if len(found) > _REQUESTS:
            context.log.warning(f"{len(found):,} partitions are stale, {_REQUESTS} are requested now")
        requests = [stale.request() for stale in found[:_REQUESTS]]
        return requests or dg.SkipReason("every partition was made from its inputs as they are now")

    return reconcile
