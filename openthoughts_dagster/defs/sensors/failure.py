"""Somebody hears of runs that failed."""

import os

import dagster as dg

from openthoughts_dagster.defs.alerts import ADDRESS, WEBHOOK, Failure, send
from openthoughts_dagster.defs.settings import Settings


def failure_sensor(settings: Settings) -> dg.SensorDefinition:
    """The sensor that posts failed runs to the webhook, when the environment names one."""

    @dg.run_failure_sensor(
        name="failure_alerts",
        minimum_interval_seconds=settings.tick_seconds,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description=f"Posts every failed run to the address in {WEBHOOK}: Slack, or any server that takes JSON.",
    )
    def failure_alerts(context: dg.RunFailureSensorContext) -> dg.SkipReason | None:
        webhook = os.environ.get(WEBHOOK)
        if not webhook:
            return dg.SkipReason(f"{WEBHOOK} is not set")
        send(webhook, failure_of(context).message(os.environ))
        return None

    return failure_alerts


def failure_of(context: dg.RunFailureSensorContext) -> Failure:
    """What a person has to know of the run: the innermost error, not the framework's around it."""
    run, error = context.dagster_run, context.failure_event.message or "the run failed"
    for event in context.get_step_failure_events():
        info = event.step_failure_data.error
        while info is not None:
            error, info = info.message.strip(), info.cause
    ui = os.environ.get(ADDRESS, "").rstrip("/")
    return Failure(
        run_id=run.run_id,
        job=run.job_name,
        assets=sorted(key.to_user_string() for key in run.asset_selection or ()),
        partition=run.tags.get("dagster/partition", ""),
        error=error,
        link=f"{ui}/runs/{run.run_id}" if ui else "",
    )
