"""How good the students are."""

import time

import dagster as dg

from openthoughts_dagster.defs.metadata import bars, cost, sample_rows, table
from openthoughts_dagster.defs.partitions import cell, cells
from openthoughts_dagster.defs.resources import LakeResource, ModelsResource
from openthoughts_dagster.defs.work import MODEL_RETRIES, resumable, runs_a_model
from openthoughts_dagster.evaluation import score_student
from openthoughts_dagster.generation.ledger_writer import Purpose
from openthoughts_dagster.generation.usage import Usage
from openthoughts_dagster.lake import BENCHMARK_SCORES, STUDENT_CHECKPOINTS, frame_hash
from openthoughts_dagster.recipe import Recipe


def benchmark_scores_asset(recipe: Recipe) -> dg.AssetsDefinition:
    """The asset that scores students on the benchmarks of `recipe`."""

    @dg.asset(
        name="benchmark_scores",
        partitions_def=cells(recipe),
        deps=["student_checkpoint"],
        group_name="students",
        kinds={"deltalake", "huggingface"},
        owners=["team:models"],
        op_tags=runs_a_model("student"),
        retry_policy=MODEL_RETRIES,
    )
    @resumable
    def benchmark_scores(
        context: dg.AssetExecutionContext, lake: LakeResource, models: ModelsResource
    ) -> dg.MaterializeResult:
        """One cell's student on every benchmark item, beside the same student before training.

        lighteval brings tasks and metrics; the answers come from our engines and stay in the completions ledger.
        """
        (source, teacher), start, tables, spent = cell(context.partition_key), time.monotonic(), lake.open(), Usage()
        checkpoint = tables.scan(STUDENT_CHECKPOINTS, source=source, teacher=teacher).select("path").collect().item()
        trained = recipe.student.model_copy(update={"model": checkpoint, "revision": None})
        purpose = Purpose("benchmark_scores", source)
        after, before = (
            models.ledger_client(tables, student, recipe.evaluation.sampling, spent, purpose, context.log.info)
            for student in (trained, recipe.student)
        )
        folder = models.workplace("evaluations", source, teacher)
        scored = score_student(recipe.evaluation, recipe.path, after, before, folder)
        reports = models.folders.put_files(folder, scored.files, models.address("evaluations", source, teacher))
        rows, summary = scored.rows(source=source, teacher=teacher), scored.by_benchmark()
        tables.replace(BENCHMARK_SCORES, rows, source=source, teacher=teacher)
        return dg.MaterializeResult(
            data_version=dg.DataVersion(frame_hash(rows)),
            metadata={
                "dagster/row_count": rows.height,
                "score": float(summary["score"].to_numpy().mean()),
                "untrained_score": float(summary["untrained_score"].to_numpy().mean()),
                "benchmarks": table(summary),
                "plot": bars(
                    summary["benchmark"].to_list(),
                    summary["score"].to_list(),
                    summary["standard_error"].to_list(),
                    title=f"{source} by {teacher} (2 standard errors)",
                ),
                "lighteval_results": [path for path in reports if path.endswith(".json")],
                **cost(spent),
                "sample": sample_rows(scored.items.select("question", "score", "untrained_score")),
                "seconds": round(time.monotonic() - start, 1),
            },
        )

    return benchmark_scores
