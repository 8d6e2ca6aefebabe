"""The release on the hub, where a person pushes it."""

from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

import dagster as dg

from openthoughts_dagster.defs.asset_entry import AssetEntry
from openthoughts_dagster.defs.resources import LakeResource, ModelsResource
from openthoughts_dagster.defs.settings import Settings
from openthoughts_dagster.defs.steps import resumable
from openthoughts_dagster.recipe import Recipe
from openthoughts_dagster.release.choosing import release_of
from openthoughts_dagster.release.hub import HubRepository
from openthoughts_dagster.release.pushing import prepare_push, require_open_gates
from openthoughts_dagster.storage import TEMPORARY_PREFIX

_AUTOMATION = ("schedule_name", "sensor_name", "auto_materialize", "from_automation_condition")


def hub_dataset_asset(entry: AssetEntry, recipe: Recipe, _: Settings) -> dg.AssetsDefinition:
    """Make the asset that pushes the release of each teacher to the recipe's repository."""

    @dg.asset(**entry.arguments(recipe))
    @resumable
    def hub_dataset(
        context: dg.AssetExecutionContext, lake: LakeResource, models: ModelsResource
    ) -> dg.MaterializeResult:
        """The version that was made last, on the hub: one commit with everything, tagged by the version.

        Only a person pushes: no automation has it, and a run that a schedule or a sensor launched is refused. Every
        gate is checked again. `openthoughts release push TEACHER --dry-run` shows what a push would change.
        """
        teacher, tables, hub = context.partition_key, lake.open(), release_of(recipe).hub
        assert hub is not None
        refuse_automation(context.run.tags)
        require_open_gates(tables, recipe, teacher)
        repository = HubRepository(hub)
        with TemporaryDirectory(prefix=TEMPORARY_PREFIX) as scratch:
            folder = prepare_push(tables, recipe, teacher, models.folders, Path(scratch) / "push")
            pushed = repository.push(folder, context.log.info)
        return dg.MaterializeResult(
            data_version=dg.DataVersion(folder.version),
            metadata={
                "address": dg.MetadataValue.url(pushed.address),
                "commit": pushed.commit,
                "tag": pushed.tag,
                "files_changed": pushed.files,
                "bytes_changed": pushed.bytes,
            },
        )

    return hub_dataset


def refuse_automation(tags: Mapping[str, str]) -> None:
    """Refuse a run that no person launched.

    Raises:
        Failure: The run's tags name a schedule, a sensor or an automation condition.
    """
    if found := [name for name in _AUTOMATION if f"dagster/{name}" in tags]:
        raise dg.Failure(
            f"hub_dataset is pushed by a person only, and this run was launched by automation ({', '.join(found)}): "
            "materialize it from its page, or run `openthoughts release push`"
        )
