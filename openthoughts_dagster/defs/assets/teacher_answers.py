"""What the teachers answer to the questions of the sources."""

import dagster as dg

from openthoughts_dagster.answers import cell_answers
from openthoughts_dagster.defs.answer_graph import AnswerRequest, answer_graph
from openthoughts_dagster.defs.partitions import cell, cells
from openthoughts_dagster.lake import Lake
from openthoughts_dagster.recipe import Recipe

_DESCRIPTION = """Sampled answers of one teacher to the questions of one source.

Completions are committed to the ledger while they come in; only samples that it lacks are generated. A plan splits
them into shards, each shard is one engine, and the table names the completion of every answer."""


def teacher_answers_asset(recipe: Recipe, models_asset: list[str]) -> dg.AssetsDefinition:
    """The asset that asks teachers; `models_asset` names what makes their weights, if an asset does."""

    def request_of(lake: Lake, key: str) -> AnswerRequest:
        source, teacher = cell(key)
        return AnswerRequest(
            model=recipe.teacher(teacher),
            answers=cell_answers(lake, source, teacher, recipe.answers_per_question),
            keep=recipe.answer_filter,
            missing_allowed=recipe.missing_answers,
            length_score=recipe.length_score(recipe.source(source).domain),
        )

    upstream = ["deduped_questions", *models_asset]
    return answer_graph("teacher_answers", _DESCRIPTION, cells(recipe), upstream, request_of)
