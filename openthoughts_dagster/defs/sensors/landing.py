"""New and changed sources become partitions, and their questions are read."""

import json
import os
from dataclasses import dataclass, field
from typing import Any

import dagster as dg

from openthoughts_dagster.defs.landed_sources_check import landing_evaluation, problems_of
from openthoughts_dagster.defs.partitions import sources
from openthoughts_dagster.defs.settings import Settings
from openthoughts_dagster.lake import Lake, text_hash
from openthoughts_dagster.landing import Catalog, Entry, Watch, open_landing_zone
from openthoughts_dagster.landing.versions import hub_commit
from openthoughts_dagster.recipe import Recipe

_RAW = dg.AssetKey("raw_sources")
_REQUESTS = 100


@dataclass
class _Cursor:
    """What the sensor has to remember: little, since the catalog knows the sources.

    `delivered` is the number of the last state that was requested, `waiting` the sources that may still be uploading.
    """

    delivered: int = 0
    turn: int = 0
    problems: str = ""
    waiting: dict[str, str] = field(default_factory=dict)

    @classmethod
    def read(cls, text: str | None) -> "_Cursor":
        """The cursor; a fresh one for a text of another version: what was requested then is skipped by its run key."""
        try:
            values = json.loads(text or "{}")
            cursor = cls(**values)
            return cursor if isinstance(cursor.delivered, int) and isinstance(cursor.waiting, dict) else cls()
        except (ValueError, TypeError):
            return cls()


def source_landing_sensor(recipe: Recipe, settings: Settings) -> dg.SensorDefinition:
    """The sensor that watches the recipe's sources and the landing place."""
    place = open_landing_zone(settings.landing) if settings.landing else None
    offline = os.environ.get("HF_HUB_OFFLINE", "").lower() in ("1", "true", "yes", "on")
    watch = Watch(recipe, place, None if offline else hub_commit)

    @dg.sensor(
        name="source_landing_sensor",
        target=dg.AssetSelection.assets(_RAW),
        minimum_interval_seconds=settings.tick_seconds,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Makes new sources of the recipe and of the landing place partitions, and requests raw_sources for "
        "those whose data or settings changed. Nothing is deleted for a source that vanished.",
    )
    def landing(context: dg.SensorEvaluationContext) -> dg.SensorResult:
        cursor, catalog = _Cursor.read(context.cursor), Catalog(Lake(settings.lake))
        before = catalog.entries()
        known = set(context.instance.get_dynamic_partitions(str(sources.name)))
        unseen = {source.name for source in recipe.sources} - set(before)
        made = context.instance.get_materialized_partitions(_RAW) if unseen else set()
        seen = watch.look(before, cursor.waiting, cursor.delivered, made, cursor.turn)
        if seen.entries != before:
            catalog.save(seen.entries.values())
        news = sorted((e for e in seen.entries.values() if e.number > cursor.delivered), key=lambda entry: entry.number)
        news = news[:_REQUESTS]
        there = [*(source.name for source in recipe.sources), *(e.source for e in seen.entries.values() if e.present)]
        new = [name for name in dict.fromkeys(there) if name not in known]
        problems = problems_of(seen.entries)
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
            # SQLite takes no more than some thousand values in one statement
            dynamic_partitions_requests=[sources.build_add_request(new[i : i + 500]) for i in range(0, len(new), 500)],
            asset_events=[landing_evaluation(problems)] if after.problems != cursor.problems else [],
            skip_reason=None if news else _reason(seen.notes, problems, len(seen.waiting)),
            cursor=json.dumps(vars(after)),
        )

    return landing


def _request(entry: Entry) -> dg.RunRequest:
    return dg.RunRequest(
        run_key=f"{entry.source}@{entry.take}", partition_key=entry.source, tags={"openthoughts/take": entry.take}
    )


def _reason(notes: list[str], problems: list[str], waiting: int) -> dg.SkipReason:
    reasons: list[Any] = [*notes, *problems]
    if waiting:
        reasons.append(
            f"{waiting} sources may still be uploading: taken when nothing of them changes until the next look"
        )
    return dg.SkipReason("; ".join(reasons)[:2000] or "no source changed")
