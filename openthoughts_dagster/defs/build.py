"""A recipe and its settings, made into Dagster definitions."""

import dagster as dg

from openthoughts_dagster.defs.assets.benchmark_scores import benchmark_scores_asset
from openthoughts_dagster.defs.assets.deduped_questions import deduped_questions_asset
from openthoughts_dagster.defs.assets.generation_costs import generation_costs_asset
from openthoughts_dagster.defs.assets.quickstart_models import quickstart_models_asset
from openthoughts_dagster.defs.assets.rankings import ranking_asset
from openthoughts_dagster.defs.assets.raw_sources import raw_sources_asset
from openthoughts_dagster.defs.assets.scored_questions import scored_questions_asset
from openthoughts_dagster.defs.assets.student_checkpoint import student_checkpoint_asset
from openthoughts_dagster.defs.assets.teacher_answers import teacher_answers_asset
from openthoughts_dagster.defs.automation import automated, automation_sensors
from openthoughts_dagster.defs.checks import asset_checks
from openthoughts_dagster.defs.jobs import recipe_jobs
from openthoughts_dagster.defs.landing_check import landing_check
from openthoughts_dagster.defs.progress import progress_logger
from openthoughts_dagster.defs.reconcile import reconcile_schedules
from openthoughts_dagster.defs.resources import LakeResource, ModelsResource, ReadersResource
from openthoughts_dagster.defs.sensors.failure import failure_sensor
from openthoughts_dagster.defs.sensors.landing import source_landing_sensor
from openthoughts_dagster.defs.settings import Settings
from openthoughts_dagster.defs.step_outputs import STEP_OUTPUTS, StepOutputs
from openthoughts_dagster.lake import Lake
from openthoughts_dagster.landing import Catalog
from openthoughts_dagster.recipe import Recipe
from openthoughts_dagster.storage import joined


def build_definitions(recipe: Recipe, settings: Settings) -> dg.Definitions:
    """Assets, checks, sensors and resources of one recipe, and of the sources that land beside it."""
    recipe = recipe.with_landed(Catalog(Lake(settings.lake)).find)
    tiny = [quickstart_models_asset(recipe)] if recipe.tiny_models else []
    models_asset = ["quickstart_models"] if recipe.tiny_models else []
    assets = [
        *tiny,
        raw_sources_asset(recipe),
        scored_questions_asset(recipe, models_asset),
        deduped_questions_asset(recipe, settings.ray),
        teacher_answers_asset(recipe, models_asset),
        student_checkpoint_asset(recipe, models_asset),
        benchmark_scores_asset(recipe),
        generation_costs_asset,
        ranking_asset(recipe, "source"),
        ranking_asset(recipe, "teacher"),
    ]
    return dg.Definitions(
        assets=automated(assets, recipe),
        asset_checks=[*asset_checks(recipe), landing_check],
        jobs=recipe_jobs(recipe),
        schedules=reconcile_schedules(recipe),
        loggers={"console": dg.colored_console_logger, "progress": progress_logger},
        sensors=[
            source_landing_sensor(recipe, settings),
            *automation_sensors(recipe, settings),
            failure_sensor(settings),
        ],
        resources={
            "lake": LakeResource(root=settings.lake),
            STEP_OUTPUTS: StepOutputs(address=joined(settings.files, "step_outputs")),
            "readers": ReadersResource(staging=str(settings.data / "staging"), copies=settings.datasets),
            "models": ModelsResource(recipe_folder=str(recipe.folder), data=str(settings.data), files=settings.files),
        },
        executor=_executor(recipe, settings),
    )


def _executor(recipe: Recipe, settings: Settings) -> dg.ExecutorDefinition:
    """Pods on a cluster; elsewhere one process a run, so that an engine that one asset started serves the next."""
    cluster = settings.load_cluster()
    if cluster is None:
        return dg.in_process_executor
    from openthoughts_dagster.defs.kubernetes.executor import kubernetes_executor  # loads the Kubernetes client

    return kubernetes_executor(recipe, cluster)
