"""The answers of teachers to the questions of the sources."""

import dagster as dg

from openthoughts_dagster.answers import cell_answers
from openthoughts_dagster.defs.answer_graph import AnswerRequest, answer_graph
from openthoughts_dagster.defs.asset_entry import AssetEntry
from openthoughts_dagster.defs.settings import Settings
from openthoughts_dagster.lake import Lake
from openthoughts_dagster.recipe import Recipe

_DESCRIPTION = """Sampled answers of one teacher to the questions of one source.

Only samples that the ledger lacks are generated, and they are committed to the ledger while they come in. A plan splits
them into shards, and one engine answers each shard. The table names the completion of every answer."""


def teacher_answers_asset(entry: AssetEntry, recipe: Recipe, _: Settings) -> dg.AssetsDefinition:
    """Make the asset that asks teachers."""

    def request_of(lake: Lake, key: str) -> AnswerRequest:
        source, teacher = entry.partitions.labels_in(recipe, key).values()
        return AnswerRequest(
            model=recipe.teacher(teacher),
            answers=cell_answers(lake, source, teacher, recipe.answers_per_question),
            keep=recipe.answer_filter,
            missing_allowed=recipe.missing_answers,
            length_score=recipe.length_score(recipe.source(source).domain),
        )

    return answer_graph(entry, recipe, _DESCRIPTION, request_of)
