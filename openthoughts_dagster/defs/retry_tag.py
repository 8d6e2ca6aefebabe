"""The tag of a run that asks again what models refused for good."""

from datetime import UTC, datetime

import dagster as dg

RETRY_TAG = "openthoughts/retry_permanent"


def retry_refused_before(context: dg.OpExecutionContext) -> datetime | None:
    """The moment from before which permanent failures are asked again in this run; None where the tag is absent.

    The tag's value is that moment as ISO 8601, as `openthoughts retry` writes it, so that retries of the run ask no
    request twice; without a time zone it is UTC. `yes` and `true` mean the moment when the run was created.

    Raises:
        Failure: The value is another one.
    """
    value = context.run.tags.get(RETRY_TAG)
    if value is None:
        return None
    try:
        moment = datetime.fromisoformat(value)
    except ValueError:
        if value.strip().lower() in ("yes", "true"):
            return _created(context)
        raise dg.Failure(
            f"the run's tag {RETRY_TAG} must be yes, or a time such as 2026-11-25T12:00:00+00:00, got {value!r}",
            allow_retries=False,
        ) from None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _created(context: dg.OpExecutionContext) -> datetime:
    """When the run was created: of a run that retries another, when the first one was."""
    run_id = context.run.root_run_id or context.run.run_id
    record = context.instance.get_run_record_by_id(run_id) or context.instance.get_run_record_by_id(context.run.run_id)
    assert record is not None  # the run that is going on
    return record.create_timestamp.replace(tzinfo=record.create_timestamp.tzinfo or UTC)
