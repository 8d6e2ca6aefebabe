"""The release: the data set of one teacher's answers over the recipe's sources."""

import time
from typing import Any

import dagster as dg
import polars as pl

from openthoughts_dagster.defs.asset_entry import AssetEntry
from openthoughts_dagster.defs.metadata import draw_funnel, sample_rows, show_counts, show_steps, table
from openthoughts_dagster.defs.resources import LakeResource, ModelsResource
from openthoughts_dagster.defs.settings import Settings
from openthoughts_dagster.defs.steps import resumable
from openthoughts_dagster.generation.ledger_writer import Purpose
from openthoughts_dagster.recipe import Recipe
from openthoughts_dagster.release import MadeRelease, ReleasePlace, make_release
from openthoughts_dagster.storage import join_address

_PLACES = ("OPENTHOUGHTS_DATA", "OPENTHOUGHTS_FILES", "OPENTHOUGHTS_LAKE")


def reasoning_dataset_asset(entry: AssetEntry, recipe: Recipe, settings: Settings) -> dg.AssetsDefinition:
    """Make the asset that chooses the rows of the recipe's release and writes its files."""

    @dg.asset(**entry.arguments(recipe))
    @resumable
    def reasoning_dataset(
        context: dg.AssetExecutionContext, lake: LakeResource, models: ModelsResource
    ) -> dg.MaterializeResult:
        """The data set that is published: the answers of one teacher to the questions of several sources.

        Questions and answers that are left out are in rejected_release, each with its step, reason and evidence.
        A version is the hash of its rows: making the same rows again writes nothing.
        """
        start, variables = time.monotonic(), settings.variables()
        place = ReleasePlace(models.address("releases"), models.workplace("releases"), models.folders)
        places = {name: variables[name] for name in _PLACES}
        tables, purpose = lake.open(), Purpose(entry.name, context.partition_key)
        tools = models.filter_tools(tables, recipe, purpose, context.log.info)
        made = make_release(tables, recipe, context.partition_key, place, places, tools=tools)
        for sentence in made.chosen.shortfalls:
            context.log.warning(sentence)
        context.log.info(f"version {made.version} is {'new' if made.new else 'there already'}: {made.path}")
        metadata = _metadata(made) | {"seconds": round(time.monotonic() - start, 1)}
        return dg.MaterializeResult(data_version=dg.DataVersion(made.version), metadata=metadata)

    return reasoning_dataset


def _metadata(made: MadeRelease) -> dict[str, Any]:
    """Make the funnel with a plot, the reasons of what was left out, the sizes of the files, and where they are."""
    chosen = made.chosen
    by_step = chosen.funnel.group_by("order", "step").agg(pl.col("questions", "answers").sum()).sort("order")
    questions = dict(by_step.select("step", "questions").iter_rows())
    configs = [{"config": name, **size} for name, size in made.record["configs"].items()]
    mebibytes = (pl.col("bytes") / 2**20, pl.col("file_bytes") / 2**20)
    return {
        "version": made.version,
        "folder": dg.MetadataValue.path(made.path),
        "card": dg.MetadataValue.path(join_address(made.path, "README.md")),
        "new_files": made.new,
        "dagster/row_count": made.record["rows"],
        "questions": made.record["questions"],
        "short": "\n".join(chosen.shortfalls) or "no",
        "funnel": draw_funnel(questions),
        "steps": show_steps(questions),
        "answers_by_step": table(by_step.select("step", "answers")),
        "steps_by_source": table(chosen.funnel.drop("teacher", "order")),
        "rejected_by_reason": show_counts(chosen.rejected, "reason"),
        "rejected_sample": sample_rows(chosen.rejected.drop("teacher"), 10),
        "files": table(pl.DataFrame(configs).with_columns(mebibytes), {"bytes": "MiB", "file_bytes": "MiB"}),
        "tables": table(pl.DataFrame(list(made.record["tables"].items()), schema=["table", "version"], orient="row")),
    }
