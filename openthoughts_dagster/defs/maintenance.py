"""The schedule that merges the lake's small files and deletes its old files."""

import dagster as dg

from openthoughts_dagster.defs.resources import LakeResource
from openthoughts_dagster.defs.steps import resumable
from openthoughts_dagster.lake import describe_maintenance
from openthoughts_dagster.recipe import Recipe

MAINTENANCE = "maintain_lake"


@dg.op(name="maintain_tables")
@resumable
def maintain_tables(context: dg.OpExecutionContext, lake: LakeResource) -> None:
    """Merge the small files of every table, and delete files that no version of the last week contains."""
    done = lake.open().maintain()
    context.log.info(describe_maintenance(done))
    context.add_output_metadata(
        {
            table.table: f"{table.merged_partitions:,} partitions merged, {table.deleted_files:,} files deleted"
            for table in done
            if table.merged_partitions or table.deleted_files
        }
    )


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
