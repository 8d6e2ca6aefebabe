"""The scores of the student of the whole release."""

import time

import dagster as dg

from openthoughts_dagster.defs.asset_entry import AssetEntry
from openthoughts_dagster.defs.resources import LakeResource, ModelsResource
from openthoughts_dagster.defs.settings import Settings
from openthoughts_dagster.defs.steps import resumable
from openthoughts_dagster.defs.student_scoring import items_metadata, score_on_benchmarks, scores_metadata
from openthoughts_dagster.evaluation import scores_version
from openthoughts_dagster.lake import RELEASE_SCORES, RELEASE_STUDENTS
from openthoughts_dagster.recipe import Recipe
from openthoughts_dagster.release import ReleaseError
from openthoughts_dagster.release.student import student_of_release, training_set_of_release


def release_scores_asset(entry: AssetEntry, recipe: Recipe, _: Settings) -> dg.AssetsDefinition:
    """Make the asset that scores the release's students on the recipe's benchmarks."""

    @dg.asset(**entry.arguments(recipe))
    @resumable
    def release_scores(
        context: dg.AssetExecutionContext, lake: LakeResource, models: ModelsResource
    ) -> dg.MaterializeResult:
        """The scores of the release's student on every benchmark item, beside those of the student before training."""
        teacher, start, tables = context.partition_key, time.monotonic(), lake.open()
        trained = tables.scan(RELEASE_STUDENTS, teacher=teacher).collect()
        if trained.is_empty():
            raise ReleaseError(f"the release of {teacher} has no student: materialize release_student")
        student = trained.row(0, named=True)
        name, settings = training_set_of_release(recipe, teacher), student_of_release(recipe)
        names = (entry.name, name, f"release|{teacher}")
        scored = score_on_benchmarks(
            models, tables, recipe, settings, student["path"], names, context.log.info, teacher
        )
        rows = scored.scores.rows(teacher=teacher, version=student["version"]).select(list(RELEASE_SCORES.columns))
        tables.replace(RELEASE_SCORES, rows, teacher=teacher)
        return dg.MaterializeResult(
            data_version=dg.DataVersion(scores_version(rows)),
            metadata=scores_metadata(scored, f"the release of {teacher}")
            | items_metadata(tables, RELEASE_SCORES, teacher=teacher)
            | {"version": student["version"], "seconds": round(time.monotonic() - start, 1)},
        )

    return release_scores
