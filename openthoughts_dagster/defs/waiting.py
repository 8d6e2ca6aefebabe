"""Partitions that wait for a person: automation pays for new questions, and for no question a second time."""

from collections.abc import Iterator
from contextlib import contextmanager

import dagster as dg
import polars as pl
from dagster._core.storage.tags import (
    AUTOMATION_CONDITION_TAG,
    PARENT_RUN_ID_TAG,
    RETRY_NUMBER_TAG,
    SCHEDULE_NAME_TAG,
    SENSOR_NAME_TAG,
)

from openthoughts_dagster.answers import AnswerPlan
from openthoughts_dagster.generation.generate import TooManyMissing
from openthoughts_dagster.lake import SCORED_QUESTIONS, Lake

WAITS_TAG = "openthoughts/waits_for_person"
_AUTOMATIC = (AUTOMATION_CONDITION_TAG, SCHEDULE_NAME_TAG, SENSOR_NAME_TAG)


def wait_for_person(context: dg.OpExecutionContext, teacher: str, planned: AnswerPlan) -> None:
    """Stop a run that automation launched if the settings of its partition moved. Runs of a person go on.

    Answers to new questions and failed answers are asked automatically. A changed prompt, sampling or model would ask
    for every answer of the partition again, and a person decides about that.

    Raises:
        Failure: It says what would be asked and what it costs. `openthoughts status` reads the run's tag.
    """
    if planned.moved and _is_automatic(context.run):
        again = f"{planned.moved:,} answers to questions that have answers would be generated again"
        says = f"{again}: {planned.estimate.says()}"
        raise _waits(context, f"{teacher} (model, prompt, sampling or number of answers)", says)


def most_scored_by_automation(context: dg.AssetExecutionContext, lake: Lake, raw: pl.DataFrame) -> int | None:
    """Return how many questions a run may have scored: those without scores if automation launched it, else any."""
    if not _is_automatic(context.run):
        return None
    there = lake.scan(SCORED_QUESTIONS, source=context.partition_key).select("question_id", "scores").collect()
    scored = there.filter(~pl.col("scores").str.contains(r":\s*null"))
    return raw.join(scored, on="question_id", how="anti").height


@contextmanager
def judges_wait_for_person(context: dg.AssetExecutionContext) -> Iterator[None]:
    """Stop a run whose judges would score questions again that are scored already, as `wait_for_person` does."""
    try:
        yield
    except TooManyMissing as error:
        says = f"questions that have scores would be scored again: {error.expected.says()}"
        raise _waits(context, "its judges (model, prompt, sampling or scores)", says) from None


def _is_automatic(run: dg.DagsterRun) -> bool:
    # A re-execution keeps the tags of the first run. The daemon numbers its own retries, so others are a person's.
    by_person = PARENT_RUN_ID_TAG in run.tags and RETRY_NUMBER_TAG not in run.tags
    return not by_person and any(tag in run.tags for tag in _AUTOMATIC)


def _waits(context: dg.OpExecutionContext | dg.AssetExecutionContext, whose: str, says: str) -> dg.Failure:
    context.instance.add_run_tags(context.run.run_id, {WAITS_TAG: says})
    return dg.Failure(
        f"{context.partition_key} waits for a person: the settings of {whose} changed since it was made. {says}. "
        "No model was asked, and no table changed. Materialize the partition or re-execute the run "
        "to pay for it (answers also by `openthoughts backfill`), or change the settings back",
        metadata={"would_be_asked": says},
        allow_retries=False,
    )


def waiting_partitions(instance: dg.DagsterInstance, asset: dg.AssetKey) -> Iterator[tuple[str, str]]:
    """Yield the partitions of an asset that wait for a person, each with what would be asked and its price."""
    storage = instance.event_log_storage
    unfinished = storage.get_latest_asset_partition_materialization_attempts_without_materializations(asset)
    for partition, (run_id, _) in sorted(unfinished.items()):
        run = instance.get_run_by_id(run_id)
        if run is not None and run.is_failure and _is_automatic(run) and (says := run.tags.get(WAITS_TAG)):
            yield partition, says
