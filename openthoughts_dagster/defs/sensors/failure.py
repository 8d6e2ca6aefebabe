"""The sensor that reports failed runs to a webhook, and retries later while the webhook is away."""

import json
import os
import time
from typing import Final

import dagster as dg
from dagster import RunStatusChangeRecordsFilter

from openthoughts_dagster.defs.alerts import ADDRESS, WEBHOOK, AlertError, Failure, send
from openthoughts_dagster.defs.settings import Settings

_AT_ONCE = 20
_TOLD_WITHIN_DAYS = 7
_STEP_FAILED = dg.DagsterEventType.STEP_FAILURE
_RUN_FAILED: Final = dg.DagsterEventType.RUN_FAILURE


def failure_sensor(settings: Settings, wait: float = 1.0, seconds: float = 20.0) -> dg.SensorDefinition:
    """Make the sensor that posts failed runs to the webhook, when the environment names one.

    Dagster's own run failure sensor continues with the next run when a run could not be reported. This sensor reports
    such a run at a later look, for seven days.

    Args:
        settings: Has the number of seconds between two looks.
        wait: Seconds before the first of two retries within one look.
        seconds: After these no further run is posted at this look. Dagster gives a sensor one minute, and a look that
            takes longer would be repeated with everything that it posted.
    """

    @dg.sensor(
        name="failure_alerts",
        minimum_interval_seconds=settings.tick_seconds,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description=f"Posts every failed run to the address in {WEBHOOK}: Slack, or any server that takes JSON.",
    )
    def failure_alerts(context: dg.SensorEvaluationContext) -> dg.SensorResult:
        webhook, position = os.environ.get(WEBHOOK), _position(context.cursor)
        if position is None or not webhook:
            why = "alerts begin with the next run that fails" if webhook else f"{WEBHOOK} is not set"
            return dg.SensorResult(skip_reason=dg.SkipReason(why), cursor=str(_newest(context.instance)))
        told, deadline = 0, time.monotonic() + seconds
        for number, record in enumerate(_failures_after(context.instance, position)):
            if number and time.monotonic() > deadline:
                break
            try:
                told += _report(context, record, webhook, wait)
            except AlertError as error:
                if not error.refused:
                    why = f"{error}; this run and those after it are told at a later look"
                    context.log.warning(why)
                    return dg.SensorResult(skip_reason=dg.SkipReason(why), cursor=str(position))
                context.log.warning(f"run {record.event_log_entry.run_id} is not told: {error}")
            position = record.storage_id
        why = f"{told} failed runs were told" if told else "no run failed"
        return dg.SensorResult(skip_reason=dg.SkipReason(why), cursor=str(position))

    return failure_alerts


def find_failure(instance: dg.DagsterInstance, run: dg.DagsterRun, message: str) -> Failure:
    """Describe a failed run for people: it has the innermost error, not the framework's errors around it."""
    error = message or "the run failed"
    for record in instance.get_records_for_run(run.run_id, of_type=_STEP_FAILED).records:
        event = record.event_log_entry.dagster_event
        info = None if event is None else event.step_failure_data.error
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


def _report(context: dg.SensorEvaluationContext, record: dg.EventLogRecord, webhook: str, wait: float) -> int:
    """Post one failed run, unless another code location owns it or it is too old. Returns how many were posted."""
    run, event = context.instance.get_run_by_id(record.run_id), record.event_log_entry.dagster_event
    if run is None or not _is_ours(context, run):
        return 0
    if record.timestamp < time.time() - _TOLD_WITHIN_DAYS * 24 * 3600:
        context.log.warning(f"run {run.run_id} failed more than {_TOLD_WITHIN_DAYS} days ago and is not told any more")
        return 0
    message = (event.message if event is not None else "") or ""
    send(webhook, find_failure(context.instance, run, message).message(os.environ), wait)
    return 1


def _failures_after(instance: dg.DagsterInstance, position: int) -> list[dg.EventLogRecord]:
    wanted = RunStatusChangeRecordsFilter(event_type=_RUN_FAILED, after_storage_id=position)
    return list(instance.fetch_run_status_changes(wanted, limit=_AT_ONCE, ascending=True).records)


def _newest(instance: dg.DagsterInstance) -> int:
    records = instance.fetch_run_status_changes(_RUN_FAILED, limit=1).records
    return records[0].storage_id if records else 0


def _position(cursor: str | None) -> int | None:
    """Parse the position of the last failure that was reported, also from the cursor that earlier versions wrote."""
    if not cursor:
        return None
    try:
        value = json.loads(cursor)
        return int(value["record_id"] if isinstance(value, dict) else value)
    except (ValueError, KeyError, TypeError):
        return None


def _is_ours(context: dg.SensorEvaluationContext, run: dg.DagsterRun) -> bool:
    ours, origin = context.code_location_origin, run.remote_job_origin
    theirs = None if origin is None else origin.repository_origin.code_location_origin.location_name
    return (None if ours is None else ours.location_name) == theirs
