"""The questions that the teachers are asked."""

import time
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import dagster as dg
import polars as pl

from openthoughts_dagster.defs.asset_entry import AssetEntry
from openthoughts_dagster.defs.metadata import draw_funnel, sample_rows, show_counts, show_steps, side_by_side
from openthoughts_dagster.defs.resources import LakeResource
from openthoughts_dagster.defs.settings import Settings
from openthoughts_dagster.defs.steps import resumable
from openthoughts_dagster.evaluation import benchmark_questions
from openthoughts_dagster.lake import (
    DEDUPED_QUESTIONS,
    REJECTED_QUESTIONS,
    SCORED_QUESTIONS,
    batches_hash,
    begin_rows,
    record_settings,
)
from openthoughts_dagster.questions import Curated, compared_questions, curate, duplicates_of, leaks_of
from openthoughts_dagster.recipe import Recipe
from openthoughts_dagster.studies import question_settings


def deduped_questions_asset(entry: AssetEntry, recipe: Recipe, settings: Settings) -> dg.AssetsDefinition:
    """Make the asset that selects, decontaminates and deduplicates as `recipe` says for each domain."""

    @dg.asset(**entry.arguments(recipe))
    @resumable
    def deduped_questions(context: dg.AssetExecutionContext, lake: LakeResource) -> dg.MaterializeResult:
        """The questions of one source with the best scores, without benchmark leaks and duplicates.

        A dropped question is in rejected_questions, with its reason and the question that it matched.
        """
        source, start, tables = context.partition_key, time.monotonic(), lake.open()
        benchmarks, unchecked = benchmark_questions(recipe.evaluation, recipe.path)
        domain = recipe.domain(recipe.source(source).domain)
        curated = curate(
            tables.scan(SCORED_QUESTIONS, source=source),
            domain,
            recipe.decontamination,
            compared_questions(benchmarks, recipe.evaluation, recipe.decontamination, recipe.path),
            [recipe.path(path) for path in domain.dedup.against],
            domain.downsample.get(source),
            settings.ray,
        )
        settings_now = question_settings(recipe, source)
        begin_rows(tables, entry.name, source, settings_now)
        rejected = tables.replace_batches(REJECTED_QUESTIONS, curated.rejected_batches, source=source, stage=entry.name)
        curated.require_questions()
        kept = tables.replace_batches(DEDUPED_QUESTIONS, curated.kept_batches, source=source)
        record_settings(tables, entry.name, source, settings_now)
        return dg.MaterializeResult(
            data_version=dg.DataVersion(batches_hash(curated.kept_batches())),
            metadata={
                "rows_in": curated.funnel["scored"],
                "dagster/row_count": kept,
                "rows_rejected": rejected,
                **_metadata(curated, unchecked),
                "seconds": round(time.monotonic() - start, 1),
            },
        )

    return deduped_questions


def _metadata(curated: Curated, unchecked: Sequence[str]) -> dict[str, Any]:
    """Make the numbers of rows after each step, the reasons of rejection, and pairs of texts to check them by."""
    examples = curated.examples(20)
    return {
        "funnel": draw_funnel(curated.funnel),
        "steps": show_steps(curated.funnel),
        "rejected_by_reason": show_counts(curated.reasons.drop_nulls().to_frame("reason"), "reason"),
        "leaks_side_by_side": side_by_side(leaks_of(examples).rename({"text": "benchmark question"}, strict=False)),
        "duplicates_side_by_side": side_by_side(
            duplicates_of(examples).drop("of", strict=False).rename({"text": "duplicate of"}, strict=False)
        ),
        "instructions_that_are_no_leaks": sample_rows(pl.DataFrame([asdict(run) for run in curated.instructions]), 20),
        "benchmarks_not_compared_with": ", ".join(unchecked) or "none",
        "sample": sample_rows(curated.best(5).select("question", "scores")),
    }
