"""The scores of models that students are compared with."""

import time

import dagster as dg
import polars as pl

from openthoughts_dagster.defs.asset_entry import AssetEntry
from openthoughts_dagster.defs.resources import LakeResource, ModelsResource
from openthoughts_dagster.defs.settings import Settings
from openthoughts_dagster.defs.steps import resumable
from openthoughts_dagster.defs.student_scoring import ScoredStudent, items_metadata, scores_metadata
from openthoughts_dagster.evaluation import score_reference, scores_version
from openthoughts_dagster.generation.ledger_writer import Purpose
from openthoughts_dagster.generation.usage import Usage
from openthoughts_dagster.lake import REFERENCE_SCORES
from openthoughts_dagster.recipe import Recipe


def reference_scores_asset(entry: AssetEntry, recipe: Recipe, _: Settings) -> dg.AssetsDefinition:
    """Make the asset that scores references on the benchmarks of `recipe`."""

    @dg.asset(**entry.arguments(recipe))
    @resumable
    def reference_scores(
        context: dg.AssetExecutionContext, lake: LakeResource, models: ModelsResource
    ) -> dg.MaterializeResult:
        """The scores of one model that was not trained here: the untrained student, a teacher, or another model.

        A person starts it. Rankings show its scores beside those of students. The answers of the untrained student are
        in the ledger already where a student was scored.
        """
        name, start, tables, usage = context.partition_key, time.monotonic(), lake.open(), Usage()
        model, below = recipe.references()[name], ("evaluations", "references", name)
        teacher = name if any(each.name == name for each in recipe.teachers) else ""
        purpose, sampling = Purpose(entry.name, "", teacher), recipe.evaluation.sampling
        ask = models.ledger_client(tables, model, sampling, usage, purpose, context.log.info)
        folder, address = models.workplace(*below), models.address(*below)
        scores = score_reference(recipe.evaluation, recipe.path, ask, folder)
        models.folders.put_files(folder, scores.files, address)
        rows = scores.items.with_columns(compared_model=pl.lit(name)).select(list(REFERENCE_SCORES.columns))
        tables.replace(REFERENCE_SCORES, rows, compared_model=name)
        scored = ScoredStudent(scores, usage, address)
        return dg.MaterializeResult(
            data_version=dg.DataVersion(scores_version(rows)),
            metadata=scores_metadata(scored, name)
            | items_metadata(tables, REFERENCE_SCORES, compared_model=name)
            | {"model": model.model, "seconds": round(time.monotonic() - start, 1)},
        )

    return reference_scores
