"""The scores of students on the benchmarks."""

import time

import dagster as dg

from openthoughts_dagster.defs.asset_entry import AssetEntry
from openthoughts_dagster.defs.cell_seeds import score_other_seeds
from openthoughts_dagster.defs.resources import LakeResource, ModelsResource
from openthoughts_dagster.defs.settings import Settings
from openthoughts_dagster.defs.steps import resumable
from openthoughts_dagster.defs.student_scoring import items_metadata, score_on_benchmarks, scores_metadata
from openthoughts_dagster.evaluation import scores_version
from openthoughts_dagster.lake import BENCHMARK_SCORES, STUDENT_CHECKPOINTS
from openthoughts_dagster.recipe import Recipe


def benchmark_scores_asset(entry: AssetEntry, recipe: Recipe, _: Settings) -> dg.AssetsDefinition:
    """Make the asset that scores students on the benchmarks of `recipe`."""

    @dg.asset(**entry.arguments(recipe))
    @resumable
    def benchmark_scores(
        context: dg.AssetExecutionContext, lake: LakeResource, models: ModelsResource
    ) -> dg.MaterializeResult:
        """The scores of one cell's student on every benchmark item, beside those of the same student before training.

        Tasks and metrics are those of lighteval. The answers come from our engines and stay in the ledger of
        completions. `openthoughts items SOURCE/TEACHER` shows every answer.
        """
        source, teacher = entry.partitions.labels_in(recipe, context.partition_key).values()
        start, tables = time.monotonic(), lake.open()
        checkpoint = tables.scan(STUDENT_CHECKPOINTS, source=source, teacher=teacher).select("path").collect().item()
        names = (entry.name, source, f"{source}|{teacher}")
        scored = score_on_benchmarks(
            models, tables, recipe, recipe.student, checkpoint, names, context.log.info, teacher
        )
        rows = scored.scores.rows(source=source, teacher=teacher)
        tables.replace(BENCHMARK_SCORES, rows, source=source, teacher=teacher)
        version = score_other_seeds(models, tables, recipe, entry.name, (source, teacher), context.log.info)
        return dg.MaterializeResult(
            data_version=dg.DataVersion(version(scores_version(rows))),
            metadata=scores_metadata(scored, f"{source} by {teacher}")
            | items_metadata(tables, BENCHMARK_SCORES, source=source, teacher=teacher)
            | {"seconds": round(time.monotonic() - start, 1)},
        )

    return benchmark_scores
