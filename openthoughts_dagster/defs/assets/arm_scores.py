"""The scores of the students of a study's arms."""

import time

import dagster as dg
import polars as pl

from openthoughts_dagster.defs.asset_entry import AssetEntry
from openthoughts_dagster.defs.resources import LakeResource, ModelsResource
from openthoughts_dagster.defs.settings import Settings
from openthoughts_dagster.defs.steps import resumable
from openthoughts_dagster.defs.student_scoring import items_metadata, score_on_benchmarks, scores_metadata
from openthoughts_dagster.evaluation import scores_version
from openthoughts_dagster.lake import ARM_SCORES
from openthoughts_dagster.recipe import Recipe
from openthoughts_dagster.studies import arm_named, current_student


def arm_scores_asset(entry: AssetEntry, recipe: Recipe, _: Settings) -> dg.AssetsDefinition:
    """Make the asset that scores the students of arms on the recipe's benchmarks."""

    @dg.asset(**entry.arguments(recipe))
    @resumable
    def arm_scores(
        context: dg.AssetExecutionContext, lake: LakeResource, models: ModelsResource
    ) -> dg.MaterializeResult:
        """The scores of one student of an arm on every benchmark item, beside those of the student before training."""
        key, start, tables = context.partition_key, time.monotonic(), lake.open()
        student = current_student(tables, recipe, key)
        arm, names = arm_named(recipe, tables, key), (entry.name, f"{student['study']}.{student['arm_name']}", key)
        scored = score_on_benchmarks(
            models, tables, recipe, arm.student, student["path"], names, context.log.info, arm.teacher.name
        )
        labels = {name: student[name] for name in ("study", "version", "arm_name")}
        own = {"seed": pl.lit(student["seed"], dtype=pl.Int64), "fingerprint": pl.lit(student["fingerprint"])}
        rows = scored.scores.rows(arm_student=key, **labels).with_columns(**own)
        rows = rows.select(list(ARM_SCORES.columns))
        tables.replace(ARM_SCORES, rows, arm_student=key)
        return dg.MaterializeResult(
            data_version=dg.DataVersion(scores_version(rows.drop("fingerprint"))),
            metadata=scores_metadata(scored, key)
            | items_metadata(tables, ARM_SCORES, arm_student=key)
            | {"seconds": round(time.monotonic() - start, 1)},
        )

    return arm_scores
