"""The tag of runs that ask again the requests which models refused permanently."""

from datetime import UTC, datetime

import dagster as dg

RETRY_TAG = "openthoughts/retry_permanent"


def retry_refused_before(context: dg.OpExecutionContext | dg.AssetExecutionContext) -> datetime | None:
    """Read the tag of a run: permanent failures from before the returned moment are asked again.

    The tag's value is a time in ISO 8601, as `openthoughts retry` writes it, so that retries of the run ask no request
    twice. A time without a zone is in UTC. `yes` and `true` mean the time at which the run was created.

    Returns:
        The moment, or None when the run has no such tag.

    Raises:
        Failure: The tag has another value.
    """
    value = context.run.tags.get(RETRY_TAG)
    if value is None:
        return None
    try:
        moment = datetime.fromisoformat(value)
    except ValueError:
        if value.strip().lower() in ("yes", "true"):
            return _creation_time(context)
        raise dg.Failure(
            f"the run's tag {RETRY_TAG} must be yes, or a time such as 2026-11-25T12:00:00+00:00, got {value!r}",
            allow_retries=False,
        ) from None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _creation_time(context: dg.OpExecutionContext | dg.AssetExecutionContext) -> datetime:
    """Return when the run was created. For a retry, return when the first run was created."""
    run_id = context.run.root_run_id or context.run.run_id
    record = context.instance.get_run_record_by_id(run_id) or context.instance.get_run_record_by_id(context.run.run_id)
    assert record is not None  # this run is in progress
    return record.create_timestamp.replace(tzinfo=record.create_timestamp.tzinfo or UTC)
