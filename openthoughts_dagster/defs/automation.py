"""The conditions under which assets are refreshed automatically. The catalogue says which asset has which condition.

Conditions compare data versions, not runs: an asset that is made again with the same content changes nothing
downstream. A condition can miss a change, for example one at the same moment as a request, or one during a deployment.
The nightly schedules of `reconcile.py` find such changes.
"""

from typing import Any

import dagster as dg

from openthoughts_dagster.defs.partitions import cell
from openthoughts_dagster.recipe import Recipe

AC = dg.AutomationCondition


class TeacherInUse(dg.AutomationCondition[dg.AssetKey]):
    """True for the cells of teachers that have answered at least one cell, which a person launched.

    Dagster has no condition on the other cells of a dimension. A custom condition is evaluated in the code server, so
    the sensor of the expensive assets runs there.
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


# Nothing is requested while an input is missing or being made, or while the asset itself is being made.
READY = ~AC.any_deps_missing() & ~AC.any_deps_in_progress() & ~AC.in_progress()
# The content of an input has changed. Its first content counts as a change.
CHANGED = AC.any_deps_match(AC.data_version_changed())
# Partitions that failed a check stop here, also when the check ran in a run of its own.
CHECKED = AC.all_deps_blocking_checks_passed()

# Cheap assets are made again as soon as an input has changed.
FOLLOWS_CHANGES = (CHANGED.since_last_handled() & READY & CHECKED).with_label("follows_changes")

# The questions of a new source are there for the first time.
_ARRIVED: dg.AutomationCondition[Any] = AC.any_deps_match((~AC.missing()).newly_true()) & TeacherInUse()
# The questions of an answered cell changed, or those of a cell that failed after somebody asked for it.
_CHANGED_CELL: dg.AutomationCondition[Any] = CHANGED & (~AC.missing() | AC.execution_failed())
# Teachers cost money: a new teacher waits until a person launches its backfill. From then on it runs automatically.
ONCE_STARTED = ((_ARRIVED | _CHANGED_CELL).since_last_handled() & READY & CHECKED).with_label("once_started")

# Scores follow their student. Without a schedule for students, both wait for a person.
FOLLOWS_STUDENTS = (CHANGED.since_last_handled() & READY & CHECKED).with_label("follows_students")

# Rankings use the cells that are there, so that one failing source does not block them.
FOLLOWS_WHAT_IS_THERE = (CHANGED.since_last_handled() & ~AC.in_progress()).with_label("follows_what_is_there")

# Costs are summed over the whole ledger, which would take too long after every cell.
HOURLY = (AC.cron_tick_passed("0 * * * *") & CHANGED.since_last_handled() & ~AC.in_progress()).with_label("hourly")


def on_schedule(cron: str, timezone: str) -> dg.AutomationCondition[Any]:
    """Make a condition for partitions whose inputs changed since they were last made, at each tick of a schedule."""
    due = AC.cron_tick_passed(cron, timezone) & CHANGED.since_last_handled()
    return (due & ~AC.any_deps_missing() & ~AC.in_progress() & CHECKED).with_label("on_schedule")


def students_schedule(recipe: Recipe) -> dg.AutomationCondition[Any] | None:
    """Return the condition of students: the recipe's schedule, or None when they wait for a person."""
    automation = recipe.automation
    return None if automation.students is None else on_schedule(automation.students, automation.timezone)


def scores_of_scheduled_students(recipe: Recipe) -> dg.AutomationCondition[Any] | None:
    """Return the condition of scores, which follow students that have a schedule. Otherwise it is None."""
    return None if recipe.automation.students is None else FOLLOWS_STUDENTS
