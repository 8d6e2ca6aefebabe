"""The scores of students on the benchmarks."""

import time
from typing import Any

import dagster as dg

from openthoughts_dagster.defs.asset_entry import AssetEntry
from openthoughts_dagster.defs.metadata import bars, cost, sample_rows, table
from openthoughts_dagster.defs.resources import LakeResource, ModelsResource
from openthoughts_dagster.defs.settings import Settings
from openthoughts_dagster.defs.steps import resumable
from openthoughts_dagster.defs.student_scoring import put_scores_page
from openthoughts_dagster.evaluation import StudentScores, score_student
from openthoughts_dagster.generation.ledger_writer import Purpose
from openthoughts_dagster.generation.usage import Usage
from openthoughts_dagster.lake import BENCHMARK_SCORES, STUDENT_CHECKPOINTS, frame_hash
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
        completions.
        """
        source, teacher = entry.partitions.labels_in(recipe, context.partition_key).values()
        start, tables, spent = time.monotonic(), lake.open(), Usage()
        checkpoint = tables.scan(STUDENT_CHECKPOINTS, source=source, teacher=teacher).select("path").collect().item()
        untrained = recipe.student.for_scoring()
        trained = untrained.model_copy(update={"model": checkpoint, "revision": None})
        sampling, purpose = recipe.evaluation.sampling, Purpose(entry.name, source)
        after, before = (
            models.ledger_client(tables, student, sampling, spent, purpose, context.log.info)
            for student in (trained, untrained)
        )
        folder, address = (
            models.workplace("evaluations", source, teacher),
            models.address("evaluations", source, teacher),
        )
        scored = score_student(recipe.evaluation, recipe.path, after, before, folder)
        reports = models.folders.put_files(folder, scored.files, address)
        put_scores_page(models, checkpoint, scored, f"{source} by {teacher}")
        rows = scored.rows(source=source, teacher=teacher)
        tables.replace(BENCHMARK_SCORES, rows, source=source, teacher=teacher)
        return dg.MaterializeResult(
            data_version=dg.DataVersion(frame_hash(rows)),
            metadata=_metadata(scored, f"{source} by {teacher}")
            | {
                "lighteval_results": dg.MetadataValue.path(address),
                "lighteval_files": sorted(report.removeprefix(f"{address}/") for report in reports),
                **cost(spent),
                "seconds": round(time.monotonic() - start, 1),
            },
        )

    return benchmark_scores


def _metadata(scored: StudentScores, title: str) -> dict[str, Any]:
    """Make the scores by benchmark with their errors, before and after training, and a few items."""
    summary = scored.by_benchmark()
    return {
        "dagster/row_count": scored.items.height,
        "score": round(float(summary["score"].to_numpy().mean()), 4),
        "untrained_score": round(float(summary["untrained_score"].to_numpy().mean()), 4),
        "benchmarks": table(summary, dict.fromkeys(("score", "of_answered", "standard_error", "untrained_score"), "%")),
        "samples_failed": int(summary["failed"].sum()),
        "samples_truncated": int(summary["truncated"].sum()),
        "samples_without_answer": int(summary["no_answer"].sum()),
        **({"confinement": scored.confinement} if scored.confinement else {}),
        "plot": bars(
            summary["benchmark"].to_list(),
            summary["score"].to_list(),
            summary["standard_error"].to_list(),
            title=f"{title} (2 standard errors)",
        ),
        "sample": sample_rows(scored.items.select("question", "score", "untrained_score")),
    }
