"""The questions of the sources, normalized."""

import time
from typing import Any

import dagster as dg
import polars as pl

from openthoughts_dagster.defs.asset_entry import AssetEntry
from openthoughts_dagster.defs.metadata import draw_histogram, sample_rows, show_cost, show_counts
from openthoughts_dagster.defs.resources import LakeResource, ModelsResource, ReadersResource
from openthoughts_dagster.defs.retry_tag import retry_refused_before
from openthoughts_dagster.defs.settings import Settings
from openthoughts_dagster.defs.steps import resumable
from openthoughts_dagster.generation.ledger_writer import Purpose
from openthoughts_dagster.generation.usage import Usage
from openthoughts_dagster.lake import RAW_SOURCES, Lake, batches_hash
from openthoughts_dagster.landing.readings import write_rows
from openthoughts_dagster.landing.versions import SETTINGS_TAG, settings_of
from openthoughts_dagster.recipe import Recipe
from openthoughts_dagster.sources import StagedSource, read_source


def raw_sources_asset(entry: AssetEntry, recipe: Recipe, _: Settings) -> dg.AssetsDefinition:
    """Make the asset that reads the sources of `recipe`."""

    @dg.asset(**entry.arguments(recipe))
    @resumable
    def raw_sources(
        context: dg.AssetExecutionContext, lake: LakeResource, models: ModelsResource, readers: ReadersResource
    ) -> dg.MaterializeResult:
        """The normalized questions of one source. Rows that are no questions go to rejected_questions with a reason.

        Judges are asked only for PDF files and rewritten sources. Their replies are kept in the ledger of completions.
        """
        source, start, tables, spent = context.partition_key, time.monotonic(), lake.open(), Usage()
        again = retry_refused_before(context)
        judge = models.judges(tables, recipe, spent, Purpose(entry.name, source), context.log.info, None, again)
        with read_source(recipe.source(source), recipe, readers.context(judge, context.log.info)) as read:
            write_rows(tables, recipe.source(source), read)
            version, sample = batches_hash(read.questions()), next(read.questions()).head()
        return dg.MaterializeResult(
            data_version=dg.DataVersion(version),
            tags={SETTINGS_TAG: settings_of(recipe.source(source))},
            metadata=_metadata(tables, source, read, sample, spent) | {"seconds": round(time.monotonic() - start, 1)},
        )

    return raw_sources


def _metadata(lake: Lake, source: str, read: StagedSource, sample: pl.DataFrame, spent: Usage) -> dict[str, Any]:
    """Make the numbers of rows read, kept and rejected, the lengths of questions, and a few questions."""
    lengths = lake.scan(RAW_SOURCES, source=source).select(pl.col("question").str.len_chars())
    characters = lengths.group_by("question").len().sort("question").collect(engine="streaming")
    return {
        "rows_in": read.rows_in,
        "dagster/row_count": read.kept,
        "rows_rejected": read.rows_in - read.kept,
        "rejected_by_reason": show_counts(read.reasons, "reason"),
        "rows_read": read.counts.rows,
        "filtered_by": show_counts(read.counts.filtered, "filter"),
        "shards": len(read.shards),
        "question_characters": draw_histogram(characters["question"], "Characters per question", characters["len"]),
        "sample": sample_rows(sample.select("question", "reference_answer", "origin")),
        **(show_cost(spent) if spent.generated + spent.reused else {}),
    }
