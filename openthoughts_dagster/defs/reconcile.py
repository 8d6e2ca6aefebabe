"""Nightly: which partitions were made from inputs that are others now, and yet were not asked for again?

Automation conditions see changes between two of their evaluations, and lose some: a change in the moment of a request,
a change around a deploy. Here nothing is remembered: the content that an input had when a partition's last run was
planned is compared with what it has now. Dagster also records inputs with each materialization, but for an asset of
several steps it records the version of whichever partition was made last, so that it is not used.
"""

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import dagster as dg

from openthoughts_dagster.defs.jobs import QUESTIONS, STUDENTS
from openthoughts_dagster.defs.partitions import SOURCE, TEACHER, cell, sources
from openthoughts_dagster.recipe import Recipe

_VERSION = "dagster/data_version"
_MADE, _PLANNED = dg.DagsterEventType.ASSET_MATERIALIZATION, dg.DagsterEventType.ASSET_MATERIALIZATION_PLANNED
_REQUESTS, _LOOKUPS = 200, 2000


@dataclass(frozen=True)
class Edge:
    """An asset and its input, and the partition of the input that a partition of the asset is made from."""

    child: str
    parent: str
    parent_partition: Callable[[str], str]
    missing_too: bool = False  # whether a partition that was never made counts: it costs little


@dataclass(frozen=True)
class Stale:
    """A partition to make again, and the event that its input has changed with."""

    child: str
    partition: str
    event: int

    def request(self) -> dg.RunRequest:
        """The run that makes it again; once for each change of the input, also when it fails."""
        return dg.RunRequest(
            run_key=f"{self.child}:{self.partition}:{self.event}",
            partition_key=self.partition,
            asset_selection=[dg.AssetKey(self.child)],
            tags={"openthoughts/reconciled": self.child},
        )


def _same(partition: str) -> str:
    return partition


def _source_of(partition: str) -> str:
    return cell(partition)[0]


QUESTION_EDGES = (
    Edge("scored_questions", "raw_sources", _same, missing_too=True),
    Edge("deduped_questions", "scored_questions", _same, missing_too=True),
)
ANSWER_EDGES = (Edge("teacher_answers", "deduped_questions", _source_of),)
STUDENT_EDGES = (
    Edge("student_checkpoint", "teacher_answers", _same),
    Edge("benchmark_scores", "student_checkpoint", _same),
)


def stale_partitions(instance: dg.DagsterInstance, edge: Edge, known: Sequence[str], seed: str = "") -> Iterator[Stale]:
    """The partitions among `known` whose input has other content than when their last run was planned.

    Those that are being made, or whose last run failed, are left alone. `seed` shuffles: work is bounded, and what one
    night does not reach another does.
    """
    storage, child, parent = instance.event_log_storage, dg.AssetKey(edge.child), dg.AssetKey(edge.parent)
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
                yield Stale(edge.child, partition, event)
            continue
        start = min(planned.get(partition, made[partition]), made[partition])
        if event > start:
            suspects.append((partition, start, event))
    random.Random(seed).shuffle(suspects)
    for partition, start, event in suspects[:_LOOKUPS]:
        source = edge.parent_partition(partition)
        then, now = (_version(instance, parent, source, before) for before in (start, None))
        if then != now and not _made_together(instance, parent, event, child, made[partition]):
            yield Stale(edge.child, partition, event)


def _version(instance: dg.DagsterInstance, asset: dg.AssetKey, partition: str, before: int | None) -> str | None:
    tags = instance.event_log_storage.get_latest_tags_by_partition(
        asset, _MADE, [_VERSION], asset_partitions=[partition], before_cursor=before
    )
    return tags.get(partition, {}).get(_VERSION)


def _made_together(
    instance: dg.DagsterInstance, parent: dg.AssetKey, event: int, child: dg.AssetKey, child_event: int
) -> bool:
    """Whether one run made the input and then the asset: it was planned before both."""
    if child_event < event:
        return False
    runs = [
        instance.fetch_materializations(dg.AssetRecordsFilter(asset_key=key, storage_ids=[number]), limit=1)
        for key, number in ((parent, event), (child, child_event))
    ]
    return len({record.run_id for run in runs for record in run.records}) == 1


def reconcile_schedules(recipe: Recipe) -> list[dg.ScheduleDefinition]:
    """The schedules that request what automation missed, by source and by cell; none when the recipe wants none."""
    cron = recipe.automation.reconcile
    if cron is None:
        return []
    return [
        _schedule(recipe, cron, "reconcile_questions", QUESTIONS, QUESTION_EDGES),
        _schedule(recipe, cron, "reconcile_cells", STUDENTS, cell_edges(recipe)),
    ]


def cell_edges(recipe: Recipe) -> tuple[Edge, ...]:
    """Answers, and students too where the recipe trains them without being asked."""
    return (*ANSWER_EDGES, *(STUDENT_EDGES if recipe.automation.students else ()))


def all_stale(instance: dg.DagsterInstance, recipe: Recipe, edges: Sequence[Edge], seed: str) -> list[Stale]:
    """What is stale along `edges`, over all sources and the recipe's teachers."""
    known = instance.get_dynamic_partitions(str(sources.name))
    teachers = [teacher.name for teacher in recipe.teachers]
    cells = [dg.MultiPartitionKey({SOURCE: source, TEACHER: teacher}) for source in known for teacher in teachers]
    return [
        stale
        for edge in edges
        for stale in stale_partitions(instance, edge, known if edge in QUESTION_EDGES else cells, seed)
    ]


def _schedule(recipe: Recipe, cron: str, name: str, job: str, edges: Sequence[Edge]) -> dg.ScheduleDefinition:
    @dg.schedule(
        name=name,
        job_name=job,
        cron_schedule=cron,
        execution_timezone=recipe.automation.timezone,
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description="Requests partitions whose inputs changed and that automation did not ask for again.",
    )
    def reconcile(context: dg.ScheduleEvaluationContext) -> list[dg.RunRequest] | dg.SkipReason:
        found = all_stale(context.instance, recipe, edges, str(context.scheduled_execution_time))
        if len(found) > _REQUESTS:
            context.log.warning(f"{len(found):,} partitions are stale, {_REQUESTS} are requested now")
        requests = [stale.request() for stale in found[:_REQUESTS]]
        return requests or dg.SkipReason("every partition was made from its inputs as they are now")

    return reconcile
