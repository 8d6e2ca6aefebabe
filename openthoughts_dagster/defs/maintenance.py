"""The schedule that merges the lake's small files and deletes its old files."""

import dagster as dg

from openthoughts_dagster.defs.resources import LakeResource
from openthoughts_dagster.defs.settings import Settings
from openthoughts_dagster.defs.step_outputs import STEP_OUTPUTS
from openthoughts_dagster.defs.steps import resumable
from openthoughts_dagster.lake import describe_maintenance
from openthoughts_dagster.recipe import Recipe
from openthoughts_dagster.storage import Deleted, delete_leftovers, join_address

MAINTENANCE = "maintain_lake"


@dg.op(name="maintain_tables")
@resumable
def maintain_tables(context: dg.OpExecutionContext, lake: LakeResource) -> None:
    """Merge the small files of every table, and delete old files and what killed processes left."""
    done, leftovers = lake.open().maintain(), delete_leftovers_of(Settings.from_environment())
    context.log.info(describe_maintenance(done, [(kind.count, kind.bytes) for kind in leftovers]))
    context.add_output_metadata(
        {
            table.table: f"{table.merged_partitions:,} partitions merged, {table.deleted_files:,} files deleted"
            for table in done
            if table.merged_partitions or table.deleted_files
        }
        | {kind.what: f"{kind.count:,} deleted, {kind.bytes / 2**20:,.1f} MiB" for kind in leftovers if kind.count}
    )


def delete_leftovers_of(settings: Settings) -> list[Deleted]:
    """Delete the leftovers of killed processes on this machine, and old step outputs of the deployment."""
    return delete_leftovers(settings.data, settings.cache, join_address(settings.files, STEP_OUTPUTS))


@dg.job(name=MAINTENANCE, description="Merge the small files of the lake's tables, and delete files that nobody reads.")
def maintenance_job() -> None:
    """Maintain the lake in a run of its own, while other runs may read and write."""
    maintain_tables()


def maintenance_schedules(recipe: Recipe) -> list[dg.ScheduleDefinition]:
    """Make the schedule of the maintenance. The list is empty when the recipe's `automation.maintenance` is null."""
    cron = recipe.automation.maintenance
    if cron is None:
        return []
    schedule = dg.ScheduleDefinition(
        name=MAINTENANCE,
        job=maintenance_job,
        cron_schedule=cron,
        execution_timezone=recipe.automation.timezone,
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description="Merges the small files of the lake's tables, and deletes files that no reader needs any more.",
    )
    return [schedule]
