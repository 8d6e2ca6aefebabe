"""The student of the whole release."""

import time

import dagster as dg

from openthoughts_dagster.answers import publish_training_set
from openthoughts_dagster.defs.asset_entry import AssetEntry
from openthoughts_dagster.defs.resources import LakeResource, ModelsResource
from openthoughts_dagster.defs.settings import Settings
from openthoughts_dagster.defs.steps import resumable
from openthoughts_dagster.defs.student_training import student_metadata, student_record, train_on_rows
from openthoughts_dagster.evaluation import require_confinement
from openthoughts_dagster.lake import RELEASE_STUDENTS
from openthoughts_dagster.recipe import Recipe
from openthoughts_dagster.release.gates import require_version
from openthoughts_dagster.release.student import (
    rows_of_release,
    scan_training_rows,
    sources_of_release,
    student_of_release,
    training_set_of_release,
)


def release_student_asset(entry: AssetEntry, recipe: Recipe, _: Settings) -> dg.AssetsDefinition:
    """Make the asset that trains a student on the release of each teacher."""

    @dg.asset(**entry.arguments(recipe))
    @resumable
    def release_student(
        context: dg.AssetExecutionContext, lake: LakeResource, models: ModelsResource
    ) -> dg.MaterializeResult:
        """The student fine-tuned on all rows of the release, with the settings of `release.student`.

        Its rows are read from the version's files, a few thousand at a time. Equal rows and settings are one student.
        """
        teacher, start, tables = context.partition_key, time.monotonic(), lake.open()
        require_confinement(recipe.evaluation)  # a student that cannot be scored is not trained
        version, student = require_version(tables, recipe, teacher), student_of_release(recipe)
        chosen = rows_of_release(tables, recipe, teacher)
        publish_training_set(tables, training_set_of_release(recipe, teacher), chosen)
        rows = scan_training_rows(models.folders.fetch(version["path"]), chosen.height)
        sources = sources_of_release(tables, recipe, teacher)
        trained, data_version = train_on_rows(models, student, rows, context.log.info, sources)
        record = student_record(RELEASE_STUDENTS, trained, teacher=teacher, version=version["version"])
        tables.replace(RELEASE_STUDENTS, record, teacher=teacher)
        return dg.MaterializeResult(
            data_version=dg.DataVersion(data_version),
            metadata=student_metadata(trained, rows.head(5).collect(), f"the release of {teacher}")
            | {"version": version["version"], "seconds": round(time.monotonic() - start, 1)},
        )

    return release_student
