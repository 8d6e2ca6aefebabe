"""The sensor that makes new sources partitions and requests raw_sources for new and changed ones."""

import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import dagster as dg

from openthoughts_dagster.defs.landed_sources_check import landing_evaluation, list_landing_problems
from openthoughts_dagster.defs.partitions import sources
from openthoughts_dagster.defs.settings import Settings
from openthoughts_dagster.lake import RAW_SOURCES, Lake, text_hash
from openthoughts_dagster.landing import Watch, WatchedSource, WatchedSources, open_landing_zone
from openthoughts_dagster.landing.readings import settings_read_with
from openthoughts_dagster.landing.versions import SETTINGS_TAG, hub_commit, settings_of
from openthoughts_dagster.recipe import Recipe

_RAW = dg.AssetKey("raw_sources")
_REQUESTS = 100


@dataclass
class _Cursor:
    """The state of the sensor. It is small, since the table of watched sources has the sources.

    `delivered` is the number of the last version that was requested. `waiting` has the sources that may still be
    uploading.
    """

    delivered: int = 0
    turn: int = 0
    problems: str = ""
    waiting: dict[str, str] = field(default_factory=dict)

    @classmethod
    def read(cls, text: str | None) -> "_Cursor":
        """Parse the cursor. A text of another version gives a new cursor, and run keys prevent repeated requests."""
        try:
            values = json.loads(text or "{}")
            cursor = cls(**values)
            return cursor if isinstance(cursor.delivered, int) and isinstance(cursor.waiting, dict) else cls()
        except (ValueError, TypeError):
            return cls()


def source_landing_sensor(recipe: Recipe, settings: Settings) -> dg.SensorDefinition:
    """Make the sensor that watches the recipe's sources and the landing zone."""
    zone = open_landing_zone(settings.landing) if settings.landing else None
    offline = os.environ.get("HF_HUB_OFFLINE", "").lower() in ("1", "true", "yes", "on")
    watch = Watch(recipe, zone, partial(hub_commit, locked=recipe.locked_commit, offline=offline))

    @dg.sensor(
        name="source_landing_sensor",
        target=dg.AssetSelection.assets(_RAW),
        minimum_interval_seconds=settings.tick_seconds,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Makes new sources of the recipe and of the landing zone partitions, and requests raw_sources for "
        "those whose data or settings changed. Nothing is deleted for a source that vanished.",
    )
    def landing(context: dg.SensorEvaluationContext) -> dg.SensorResult:
        cursor, table = _Cursor.read(context.cursor), WatchedSources(Lake(settings.lake))
        before = table.read()
        known = set(context.instance.get_dynamic_partitions(str(sources.name)))
        unseen = {source.name for source in recipe.sources} - set(before)
        made = _find_up_to_date(context.instance, Lake(settings.lake), recipe, unseen)
        seen = watch.look(before, cursor.waiting, cursor.delivered, made, cursor.turn)
        if seen.sources != before:
            table.save(seen.sources.values())
        there = [*(source.name for source in recipe.sources), *(e.source for e in seen.sources.values() if e.present)]
        news = _unrequested(seen.sources, there, cursor.delivered)[:_REQUESTS]
        new = [name for name in dict.fromkeys(there) if name not in known]
        problems = list_landing_problems(seen.sources)
        for line in [*seen.notes, *problems]:
            context.log.warning(line)
        after = _Cursor(
            delivered=max([cursor.delivered, *(entry.number for entry in news)]),
            turn=cursor.turn + 1,
            problems=text_hash(*problems),
            waiting=seen.waiting,
        )
        return dg.SensorResult(
            run_requests=[_request(entry) for entry in news],
            dynamic_partitions_requests=_new_partitions(new),
            asset_events=[landing_evaluation(problems)] if after.problems != cursor.problems else [],
            skip_reason=None if news else _reason(seen.notes, problems, len(seen.waiting)),
            cursor=json.dumps(vars(after)),
        )

    return landing


def _find_up_to_date(instance: dg.DagsterInstance, lake: Lake, recipe: Recipe, names: set[str]) -> set[str]:
    """Find the sources whose rows are in the lake and were read with the settings that the recipe has now.

    The lake says with which settings its rows were read, whatever instance or recipe asked for them. For rows that an
    older version read, the tag of the materialization says it; without one they count as read with the present
    settings, so that nothing is read twice.
    """
    made = instance.get_materialized_partitions(_RAW) & names if names else set()
    recorded = settings_read_with(lake) if made else {}
    return {
        name
        for name in made
        if _has_rows(lake, name)
        and (
            recorded[name] == settings_of(recipe.source(name))
            if name in recorded
            else _settings_agree(instance, recipe, name)
        )
    }


def _has_rows(lake: Lake, name: str) -> bool:
    return not lake.scan(RAW_SOURCES, source=name).select("source").head(1).collect().is_empty()


def _settings_agree(instance: dg.DagsterInstance, recipe: Recipe, name: str) -> bool:
    found = instance.fetch_materializations(dg.AssetRecordsFilter(_RAW, asset_partitions=[name]), limit=1).records
    materialization = found[0].asset_materialization if found else None
    read_with = (materialization.tags or {}).get(SETTINGS_TAG) if materialization else None
    return read_with is None or read_with == settings_of(recipe.source(name))


def _unrequested(watched: Mapping[str, WatchedSource], there: Iterable[str], delivered: int) -> list[WatchedSource]:
    """List the versions of sources that no run was requested for, the oldest first.

    A version that vanished before it was requested has no partition. Dagster would refuse the whole tick.
    """
    found = [watched[name] for name in {*there} & {*watched} if watched[name].number > delivered]
    return sorted(found, key=lambda entry: entry.number)


def _new_partitions(names: list[str]) -> list[dg.AddDynamicPartitionsRequest]:
    # SQLite accepts only a few thousand values in one statement.
    return [sources.build_add_request(names[start : start + 500]) for start in range(0, len(names), 500)]


def _request(watched: WatchedSource) -> dg.RunRequest:
    return dg.RunRequest(
        run_key=f"{watched.source}@{watched.version_id}",
        partition_key=watched.source,
        tags={"openthoughts/take": watched.version_id},
    )


def _reason(notes: list[str], problems: list[str], waiting: int) -> dg.SkipReason:
    reasons: list[Any] = [*notes, *problems]
    if waiting:
        reasons.append(
            f"{waiting} sources may still be uploading: taken when nothing of them changes until the next look"
        )
    return dg.SkipReason("; ".join(reasons)[:2000] or "no source changed")
