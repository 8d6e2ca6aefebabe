"""Cells that wait for a person: automation pays for new questions, and never for answered ones a second time."""

from collections.abc import Iterator

import dagster as dg
from dagster._core.storage.tags import AUTOMATION_CONDITION_TAG, SCHEDULE_NAME_TAG, SENSOR_NAME_TAG

from openthoughts_dagster.answers import AnswerPlan

WAITS_TAG = "openthoughts/waits_for_person"
_AUTOMATIC = (AUTOMATION_CONDITION_TAG, SCHEDULE_NAME_TAG, SENSOR_NAME_TAG)


def wait_for_person(context: dg.OpExecutionContext, teacher: str, planned: AnswerPlan) -> None:
    """Stop a run that automation launched if the settings of its partition moved. Runs of a person go on.

    Answers to new questions and failed answers are asked automatically. A changed prompt, sampling or model would ask
    for every answer of the partition again, and a person decides about that.

    Raises:
        Failure: It says what would be asked and what it costs. `openthoughts status` reads the run's tag.
    """
    if not planned.moved or not any(tag in context.run.tags for tag in _AUTOMATIC):
        return
    says = f"{planned.moved:,} answers to answered questions would be asked again: {planned.estimate.says()}"
    context.instance.add_run_tags(context.run_id, {WAITS_TAG: says})
    raise dg.Failure(
        f"{context.partition_key} waits for a person: the settings of {teacher} (model, prompt, sampling or number of "
        f"answers) changed since it was answered. {says}. Nothing was asked, and the published answers are as they "
        "were. Materialize the partition, or run `openthoughts backfill`, to pay for it; or change the settings back",
        metadata={"answers_to_ask_again": planned.moved, "expected_cost": planned.estimate.says()},
        allow_retries=False,
    )


def waiting_partitions(instance: dg.DagsterInstance, asset: dg.AssetKey) -> Iterator[tuple[str, str]]:
    """Yield the partitions of an asset that wait for a person, each with what would be asked and its price."""
    storage = instance.event_log_storage
    unfinished = storage.get_latest_asset_partition_materialization_attempts_without_materializations(asset)
    for partition, (run_id, _) in sorted(unfinished.items()):
        run = instance.get_run_by_id(run_id)
        if run is not None and run.is_failure and (says := run.tags.get(WAITS_TAG)):
            yield partition, says
