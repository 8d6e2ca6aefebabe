"""The student of the whole release."""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl

from openthoughts_dagster.answers import publish_training_set
from openthoughts_dagster.defs.asset_entry import AssetEntry
from openthoughts_dagster.defs.resources import LakeResource, ModelsResource
from openthoughts_dagster.defs.settings import Settings
from openthoughts_dagster.defs.steps import resumable
from openthoughts_dagster.defs.student_training import student_metadata, student_record, train_on_rows
from openthoughts_dagster.evaluation import require_confinement
from openthoughts_dagster.lake import RELEASE_STUDENTS, Lake
from openthoughts_dagster.recipe import Recipe
from openthoughts_dagster.release.gates import require_version
from openthoughts_dagster.release.student import (
    published_rows,
    rows_of_release,
    sources_of_rows,
    student_of_release,
    training_set_of_release,
    write_training_rows,
)
from openthoughts_dagster.storage import rows_folder
from openthoughts_dagster.training.sft import student_fingerprint


def release_student_asset(entry: AssetEntry, recipe: Recipe, _: Settings) -> dg.AssetsDefinition:
    """Make the asset that trains a student on the release of each teacher."""

    @dg.asset(**entry.arguments(recipe))
    @resumable
    def release_student(
        context: dg.AssetExecutionContext, lake: LakeResource, models: ModelsResource
    ) -> dg.MaterializeResult:
        """The student fine-tuned on all rows of the release, with the settings of `release.student`.

        Its rows go through a file, a part at a time. Equal base models, rows and settings are one student: a release of
        one cell's answers trains nothing where the cell has a student of these settings.
        """
        teacher, start, tables = context.partition_key, time.monotonic(), lake.open()
        require_confinement(recipe.evaluation)  # a student that cannot be scored is not trained
        version, student = require_version(tables, recipe, teacher), student_of_release(recipe)
        with _training_rows(models, tables, recipe, teacher, version) as (chosen, rows):
            publish_training_set(tables, training_set_of_release(recipe, teacher), chosen)
            sources = sources_of_rows(tables, teacher, chosen)
            trained, data_version = train_on_rows(models, student, rows, context.log.info, sources)
            shown = rows.head(5).collect()
        record = student_record(RELEASE_STUDENTS, trained, teacher=teacher, version=version["version"])
        tables.replace(RELEASE_STUDENTS, record, teacher=teacher)
        return dg.MaterializeResult(
            data_version=dg.DataVersion(data_version),
            metadata=student_metadata(trained, shown, f"the release of {teacher}")
            | {"version": version["version"], "seconds": round(time.monotonic() - start, 1)},
        )

    return release_student


@contextmanager
def _training_rows(
    models: ModelsResource, lake: Lake, recipe: Recipe, teacher: str, version: Mapping[str, Any]
) -> Iterator[tuple[pl.DataFrame, pl.LazyFrame]]:
    """Give the rows of the student by name and with their texts.

    Earlier versions trained on the rows as they are published. A student of such a training is used where it is.
    """
    known = lake.scan(RELEASE_STUDENTS, teacher=teacher).filter(version=version["version"]).collect()
    if known.height:
        earlier = published_rows(lake, recipe, teacher, models.folders.fetch(version["path"]))
        student = student_of_release(recipe)
        fingerprint = student_fingerprint(student, models.locate(student, weights=False), earlier[1])
        if fingerprint == known["fingerprint"].item() and models.students.find(fingerprint):
            yield earlier
            return
    chosen = rows_of_release(lake, recipe, teacher)
    with rows_folder(Path(models.data)) as folder:
        path = folder / "rows.parquet"
        write_training_rows(lake, chosen, path)
        yield chosen, pl.scan_parquet(path)
