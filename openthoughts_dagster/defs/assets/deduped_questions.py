"""The questions that go on to the teachers."""

import time

import dagster as dg

from openthoughts_dagster.defs.metadata import counts, sample_rows
from openthoughts_dagster.defs.partitions import sources
from openthoughts_dagster.defs.resources import LakeResource
from openthoughts_dagster.evaluation import benchmark_questions
from openthoughts_dagster.lake import DEDUPED_QUESTIONS, REJECTED_QUESTIONS, SCORED_QUESTIONS, frame_hash
from openthoughts_dagster.questions import curate
from openthoughts_dagster.recipe import Recipe


def deduped_questions_asset(recipe: Recipe) -> dg.AssetsDefinition:
    """The asset that selects, decontaminates and deduplicates as `recipe` says for each domain."""

    @dg.asset(
        name="deduped_questions",
        partitions_def=sources,
        deps=["scored_questions"],
        group_name="questions",
        kinds={"deltalake", "polars"},
        owners=["team:data"],
    )
    def deduped_questions(context: dg.AssetExecutionContext, lake: LakeResource) -> dg.MaterializeResult:
        """The top questions by score, without benchmark leaks and duplicates.

        What was dropped is in rejected_questions with its reason and the question it matched.
        """
        source, start, tables = context.partition_key, time.monotonic(), lake.open()
        scored = tables.scan(SCORED_QUESTIONS, source=source).collect()
        benchmarks, unchecked = benchmark_questions(recipe.evaluation, recipe.path)
        curated = curate(scored, recipe.domain(recipe.source(source).domain), recipe.decontamination, benchmarks)
        tables.replace(REJECTED_QUESTIONS, curated.rejected, source=source, stage="deduped_questions")
        tables.replace(DEDUPED_QUESTIONS, curated.questions, source=source)
        return dg.MaterializeResult(
            data_version=dg.DataVersion(frame_hash(curated.questions)),
            metadata={
                "rows_in": scored.height,
                "dagster/row_count": curated.questions.height,
                "rows_rejected": curated.rejected.height,
                "rejected_by_reason": counts(curated.rejected, "reason"),
                "rejected_sample": sample_rows(curated.rejected.select("reason", "question", "evidence")),
                "benchmarks_not_compared_with": unchecked,
                "sample": sample_rows(curated.questions.select("question", "scores")),
                "seconds": round(time.monotonic() - start, 1),
            },
        )

    return deduped_questions
