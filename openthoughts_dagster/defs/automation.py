"""When an asset is refreshed without anybody asking.

Conditions compare data versions, not runs: an asset that was made again with the same content moves nothing. What a
condition lost (a change in the same moment as a request, a deploy between the two) is found by `reconcile_schedule`.
"""

import warnings
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import dagster as dg

from openthoughts_dagster.defs.partitions import cell
from openthoughts_dagster.defs.settings import Settings
from openthoughts_dagster.recipe import Recipe

AC = dg.AutomationCondition
EXPENSIVE = ("teacher_answers", "student_checkpoint", "benchmark_scores")
PAYS = ("scored_questions", *EXPENSIVE)
PAPER = "https://arxiv.org/abs/2506.04178"
_WATCHED = ("raw_sources", "source_ranking", "teacher_ranking", "generation_costs")


class TeacherInUse(dg.AutomationCondition[dg.AssetKey]):
    """True for the cells of teachers that have answered something: a person launched their first cell.

    Dagster has no condition on the other cells of a dimension, and conditions of one's own are evaluated in the code
    server, which is why the sensor of the expensive assets runs there.
    """

    @property
    def name(self) -> str:
        return "teacher_in_use"

    async def evaluate(self, context: dg.AutomationContext[dg.AssetKey]) -> dg.AutomationResult[dg.AssetKey]:  # type: ignore[override]
        candidates = context.candidate_subset
        if candidates.is_empty:
            return dg.AutomationResult(context=context, true_subset=candidates)
        answered = await context.asset_graph_view.compute_materialized_asset_subset(key=context.key)
        in_use = {cell(key)[1] for key in answered.expensively_compute_partition_keys()}
        keys = {key for key in candidates.expensively_compute_partition_keys() if cell(key)[1] in in_use}
        true = candidates.compute_intersection_with_partition_keys(keys)
        return dg.AutomationResult(context=context, true_subset=true)


# Nothing is asked for that lacks an input, is under way, or whose inputs are.
READY = ~AC.any_deps_missing() & ~AC.any_deps_in_progress() & ~AC.in_progress()
# Some input's content is another than before; its first content counts.
CHANGED = AC.any_deps_match(AC.data_version_changed())
# Broken partitions go no further, also when their check failed in a run of its own.
CHECKED = AC.all_deps_blocking_checks_passed()

# Cheap: whatever changed is made again at once.
FOLLOWS_CHANGES = (CHANGED.since_last_handled() & READY & CHECKED).with_label("follows_changes")

# A new source: its questions are there for the first time.
_ARRIVED: dg.AutomationCondition[Any] = AC.any_deps_match((~AC.missing()).newly_true()) & TeacherInUse()
# An answered cell, or one that failed after somebody asked for it: its questions are others now.
_CHANGED_CELL: dg.AutomationCondition[Any] = CHANGED & (~AC.missing() | AC.execution_failed())
# Teachers cost money: a new teacher waits for a person's backfill, and then goes on by itself.
ONCE_STARTED = ((_ARRIVED | _CHANGED_CELL).since_last_handled() & READY & CHECKED).with_label("once_started")

# Scores of a student follow it; without a schedule for students both wait for a button.
FOLLOWS_STUDENTS = (CHANGED.since_last_handled() & READY & CHECKED).with_label("follows_students")

# Rankings are of the cells that are there: one failing source holds up none of them.
FOLLOWS_WHAT_IS_THERE = (CHANGED.since_last_handled() & ~AC.in_progress()).with_label("follows_what_is_there")

# Costs are summed over the whole ledger: not again after every cell.
HOURLY = (AC.cron_tick_passed("0 * * * *") & CHANGED.since_last_handled() & ~AC.in_progress()).with_label("hourly")


def on_schedule(cron: str, timezone: str) -> dg.AutomationCondition[Any]:
    """At each tick of the schedule what changed since it was last made, whatever else is under way or missing."""
    due = AC.cron_tick_passed(cron, timezone) & CHANGED.since_last_handled()
    return (due & ~AC.any_deps_missing() & ~AC.in_progress() & CHECKED).with_label("on_schedule")


def conditions(recipe: Recipe) -> dict[str, dg.AutomationCondition[Any]]:
    """The condition of each asset that has one. `raw_sources` is requested by the landing sensor."""
    follows: dict[str, dg.AutomationCondition[Any]] = {
        "scored_questions": FOLLOWS_CHANGES,
        "deduped_questions": FOLLOWS_CHANGES,
        "teacher_answers": ONCE_STARTED,
        "generation_costs": HOURLY,
        "source_ranking": FOLLOWS_WHAT_IS_THERE,
        "teacher_ranking": FOLLOWS_WHAT_IS_THERE,
    }
    schedule = recipe.automation.students
    if schedule is None:
        return follows
    students = on_schedule(schedule, recipe.automation.timezone)
    return follows | {"student_checkpoint": students, "benchmark_scores": FOLLOWS_STUDENTS}


def automated(assets: Sequence[dg.AssetsDefinition], recipe: Recipe) -> list[dg.AssetsDefinition]:
    """The assets with their conditions, tags, and how long they count as fresh."""
    wanted = {dg.AssetKey(name): condition for name, condition in conditions(recipe).items()}

    days = recipe.automation.fresh_days
    fresh = None if days is None else dg.FreshnessPolicy.time_window(fail_window=timedelta(days=days))

    def with_condition(spec: dg.AssetSpec) -> dg.AssetSpec:
        name = spec.key.to_user_string()
        return spec.replace_attributes(
            automation_condition=wanted.get(spec.key),
            freshness_policy=fresh if name in _WATCHED else None,
            tags={**spec.tags, "openthoughts/pays_models": "yes" if name in PAYS else "no"},
            description=f"{spec.description}\n\nMethod: [OpenThoughts]({PAPER}), arXiv 2506.04178.",
        )

    return [asset.map_asset_specs(with_condition) for asset in assets]


def automation_sensors(recipe: Recipe, settings: Settings) -> list[dg.SensorDefinition]:
    """One sensor for what is cheap and one for what pays models, so that each can be stopped by itself."""
    cheap = [name for name in conditions(recipe) if name not in EXPENSIVE]
    warnings.filterwarnings("ignore", message=".*use_user_code_server.*", category=dg.BetaWarning)
    return [
        dg.AutomationConditionSensorDefinition(
            "cheap_assets",
            target=dg.AssetSelection.assets(*cheap),
            default_status=dg.DefaultSensorStatus.RUNNING,
            minimum_interval_seconds=settings.tick_seconds,
            description="Requests questions and rankings whose inputs changed.",
        ),
        dg.AutomationConditionSensorDefinition(
            "expensive_assets",
            target=dg.AssetSelection.assets(*EXPENSIVE),
            default_status=dg.DefaultSensorStatus.RUNNING,
            minimum_interval_seconds=settings.tick_seconds,
            use_user_code_server=True,  # for TeacherInUse
            description="Requests answers of teachers that were started, and students when the recipe has a schedule.",
        ),
    ]
