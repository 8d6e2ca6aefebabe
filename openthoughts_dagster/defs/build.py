"""Building Dagster definitions from a recipe and the settings of a deployment."""

from collections.abc import Sequence

import dagster as dg

from openthoughts_dagster.defs.asset_entry import AssetEntry
from openthoughts_dagster.defs.catalogue import CATALOGUE, entries_of
from openthoughts_dagster.defs.checks import asset_checks
from openthoughts_dagster.defs.jobs import recipe_jobs
from openthoughts_dagster.defs.landed_sources_check import landing_check
from openthoughts_dagster.defs.maintenance import maintenance_job, maintenance_schedules
from openthoughts_dagster.defs.progress import progress_logger
from openthoughts_dagster.defs.reconcile import reconcile_schedules
from openthoughts_dagster.defs.resources import LakeResource, ModelsResource, ReadersResource
from openthoughts_dagster.defs.sensors.automation import automation_sensors
from openthoughts_dagster.defs.sensors.failure import failure_sensor
from openthoughts_dagster.defs.sensors.landing import source_landing_sensor
from openthoughts_dagster.defs.settings import Settings
from openthoughts_dagster.defs.step_outputs import STEP_OUTPUTS, StepOutputs
from openthoughts_dagster.lake import Lake
from openthoughts_dagster.landing import WatchedSources
from openthoughts_dagster.recipe import Recipe
from openthoughts_dagster.storage import join_address


def build_definitions(
    recipe: Recipe, settings: Settings, catalogue: Sequence[AssetEntry] = CATALOGUE
) -> dg.Definitions:
    """Make the definitions of a recipe and of the sources that landed beside it.

    Args:
        recipe: The recipe.
        settings: The settings of the deployment.
        catalogue: The entries of all assets.

    Returns:
        The definitions.

    Raises:
        ClusterError: Steps run on Kubernetes, and a pod of the recipe does not fit the cluster.
    """
    recipe = recipe.with_landed(WatchedSources(Lake(settings.lake)).find)
    entries = entries_of(recipe, catalogue)
    return dg.Definitions(
        assets=[entry.build(recipe, settings) for entry in entries],
        asset_checks=[*asset_checks(entries, recipe), landing_check],
        jobs=[*recipe_jobs(entries), maintenance_job],
        schedules=[*reconcile_schedules(entries, recipe), *maintenance_schedules(recipe)],
        loggers={"console": dg.colored_console_logger, "progress": progress_logger},
        sensors=[
            source_landing_sensor(recipe, settings),
            *automation_sensors(entries, recipe, settings),
            failure_sensor(settings),
        ],
        resources={
            "lake": LakeResource(root=settings.lake),
            STEP_OUTPUTS: StepOutputs(address=join_address(settings.files, "step_outputs")),
            "readers": ReadersResource(staging=str(settings.data / "staging"), copies=settings.datasets),
            "models": ModelsResource(recipe_folder=str(recipe.folder), data=str(settings.data), files=settings.files),
        },
        executor=_executor(recipe, settings),
    )


def _executor(recipe: Recipe, settings: Settings) -> dg.ExecutorDefinition:
    """Return the executor: pods on a cluster, and elsewhere one process for a run, whose assets share engines."""
    cluster = settings.load_cluster()
    if cluster is None:
        return dg.in_process_executor
    from openthoughts_dagster.defs.kubernetes.executor import kubernetes_executor  # loads the Kubernetes client

    return kubernetes_executor(recipe, cluster)
