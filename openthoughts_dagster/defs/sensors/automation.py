"""The sensors that evaluate automation conditions."""

import warnings
from collections.abc import Iterable

import dagster as dg

from openthoughts_dagster.defs.asset_entry import AssetEntry, Sensor
from openthoughts_dagster.defs.settings import Settings
from openthoughts_dagster.recipe import Recipe

_DESCRIPTIONS: dict[Sensor, str] = {
    "cheap_assets": "Requests questions and rankings whose inputs changed.",
    "expensive_assets": "Requests answers of teachers that were started, and students when the recipe has a schedule.",
}


def automation_sensors(entries: Iterable[AssetEntry], recipe: Recipe, settings: Settings) -> list[dg.SensorDefinition]:
    """Make one sensor for cheap assets and one for assets that pay models, so that each can be stopped separately."""
    warnings.filterwarnings("ignore", message=".*use_user_code_server.*", category=dg.BetaWarning)
    targets: dict[Sensor, list[str]] = {sensor: [] for sensor in _DESCRIPTIONS}
    for entry in entries:
        if entry.sensor == "expensive_assets" or entry.condition(recipe) is not None:
            targets[entry.sensor].append(entry.name)
    return [
        dg.AutomationConditionSensorDefinition(
            sensor,
            target=dg.AssetSelection.assets(*names),
            default_status=dg.DefaultSensorStatus.RUNNING,
            minimum_interval_seconds=settings.tick_seconds,
            # Custom conditions, such as TeacherInUse, can be evaluated only where this package is loaded.
            use_user_code_server=sensor == "expensive_assets",
            description=_DESCRIPTIONS[sensor],
        )
        for sensor, names in targets.items()
    ]
