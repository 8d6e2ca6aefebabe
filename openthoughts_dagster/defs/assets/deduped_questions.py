"""The questions that go on to the teachers."""

import time
from dataclasses import asdict

import dagster as dg
import polars as pl

from openthoughts_dagster.defs.metadata import counts, funnel, sample_rows, side_by_side
from openthoughts_dagster.defs.partitions import sources
from openthoughts_dagster.defs.resources import LakeResource
from openthoughts_dagster.defs.work import resumable
from openthoughts_dagster.evaluation import benchmark_questions
from openthoughts_dagster.lake import DEDUPED_QUESTIONS, REJECTED_QUESTIONS, SCORED_QUESTIONS, batches_hash
from openthoughts_dagster.questions import compared_questions, curate, duplicates_of, leaks_of
from openthoughts_dagster.recipe import Recipe


def deduped_questions_asset(recipe: Recipe, ray: str = "") -> dg.AssetsDefinition:
    """The asset that selects, decontaminates and deduplicates as `recipe` says for each domain.

    On the Ray cluster at the address `ray`, if one is given.
    """

    @dg.asset(
        name="deduped_questions",
        partitions_def=sources,
        deps=["scored_questions"],
        group_name="questions",
        kinds={"deltalake", "polars"},
        owners=["team:data"],
    )
    @resumable
    def deduped_questions(context: dg.AssetExecutionContext, lake: LakeResource) -> dg.MaterializeResult:
        """The top questions by score, without benchmark leaks and duplicates.

        What was dropped is in rejected_questions with its reason and the question it matched.
        """
        source, start, tables = context.partition_key, time.monotonic(), lake.open()
        benchmarks, unchecked = benchmark_questions(recipe.evaluation, recipe.path)
        settings = recipe.domain(recipe.source(source).domain)
        curated = curate(
            tables.scan(SCORED_QUESTIONS, source=source),
            settings,
            recipe.decontamination,
            compared_questions(benchmarks, recipe.evaluation, recipe.decontamination, recipe.path),
            [recipe.path(path) for path in settings.dedup.against],
            settings.downsample.get(source),
            ray,
        )
        stage = {"source": source, "stage": "deduped_questions"}
        rejected = tables.replace_batches(REJECTED_QUESTIONS, curated.rejected_batches, **stage)
        curated.require_questions()
        kept = tables.replace_batches(DEDUPED_QUESTIONS, curated.kept_batches, source=source)
        examples = curated.examples(20)
        return dg.MaterializeResult(
            data_version=dg.DataVersion(batches_hash(curated.kept_batches())),
            metadata={
                "rows_in": curated.funnel["scored"],
                "dagster/row_count": kept,
                "rows_rejected": rejected,
                "funnel": funnel(curated.funnel),
                "steps": [list(step) for step in curated.funnel.items()],  # in their order, which JSON objects lose
                "rejected_by_reason": counts(curated.reasons.drop_nulls().to_frame("reason"), "reason"),
                "leaks_side_by_side": side_by_side(leaks_of(examples)),
                "duplicates_side_by_side": side_by_side(duplicates_of(examples)),
                "instructions_that_are_no_leaks": sample_rows(
                    pl.DataFrame([asdict(run) for run in curated.instructions]), 20
                ),
                "benchmarks_not_compared_with": unchecked,
                "sample": sample_rows(curated.best(5).select("question", "scores")),
                "seconds": round(time.monotonic() - start, 1),
            },
        )

    return deduped_questions
