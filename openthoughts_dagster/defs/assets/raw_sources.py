"""Questions as their source has them."""

import time

import dagster as dg

from openthoughts_dagster.defs.metadata import counts, histogram, sample_rows
from openthoughts_dagster.defs.partitions import sources
from openthoughts_dagster.defs.resources import LakeResource
from openthoughts_dagster.lake import RAW_SOURCES, REJECTED_QUESTIONS, frame_hash
from openthoughts_dagster.recipe import Recipe
from openthoughts_dagster.sources import read_source


def raw_sources_asset(recipe: Recipe) -> dg.AssetsDefinition:
    """The asset that reads the sources of `recipe`."""

    @dg.asset(
        name="raw_sources",
        partitions_def=sources,
        group_name="questions",
        kinds={"deltalake", "polars"},
        owners=["team:data"],
    )
    def raw_sources(context: dg.AssetExecutionContext, lake: LakeResource) -> dg.MaterializeResult:
        """One normalized question table per source; what is no question goes to rejected_questions with its reason."""
        source, start, tables = context.partition_key, time.monotonic(), lake.open()
        read = read_source(recipe.source(source), recipe)
        tables.replace(REJECTED_QUESTIONS, read.rejected, source=source, stage="raw_sources")
        tables.replace(RAW_SOURCES, read.questions, source=source)
        return dg.MaterializeResult(
            data_version=dg.DataVersion(frame_hash(read.questions)),
            metadata={
                "rows_in": read.rows_in,
                "dagster/row_count": read.questions.height,
                "rows_rejected": read.rejected.height,
                "rejected_by_reason": counts(read.rejected, "reason"),
                "question_characters": histogram(
                    read.questions["question"].str.len_chars().to_list(), "Characters per question"
                ),
                "sample": sample_rows(read.questions.select("question", "reference_answer", "origin")),
                "seconds": round(time.monotonic() - start, 1),
            },
        )

    return raw_sources
