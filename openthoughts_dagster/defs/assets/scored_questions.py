"""Questions with what selection ranks them by."""

import json
import time

import dagster as dg

from openthoughts_dagster.defs.metadata import cost, histogram, sample_rows
from openthoughts_dagster.defs.partitions import sources
from openthoughts_dagster.defs.resources import LakeResource, ModelsResource
from openthoughts_dagster.defs.work import MODEL_RETRIES, resumable, runs_a_model
from openthoughts_dagster.generation.ledger_writer import Purpose
from openthoughts_dagster.generation.requests import AskModel
from openthoughts_dagster.generation.usage import Usage
from openthoughts_dagster.lake import RAW_SOURCES, SCORED_QUESTIONS, frame_hash
from openthoughts_dagster.questions import score_questions
from openthoughts_dagster.questions.examples import read_examples
from openthoughts_dagster.questions.scoring import ScoringContext, read_prompt
from openthoughts_dagster.recipe import Recipe


def scored_questions_asset(recipe: Recipe, models_asset: list[str]) -> dg.AssetsDefinition:
    """The asset that scores questions; `models_asset` names what makes the judges' weights, if an asset does."""

    @dg.asset(
        name="scored_questions",
        partitions_def=sources,
        deps=["raw_sources", *models_asset],
        group_name="questions",
        kinds={"deltalake", "llm"},
        owners=["team:data"],
        op_tags=runs_a_model("judge"),
        retry_policy=MODEL_RETRIES,
    )
    @resumable
    def scored_questions(
        context: dg.AssetExecutionContext, lake: LakeResource, models: ModelsResource
    ) -> dg.MaterializeResult:
        """Every question of one source with its scores, such as a judge's difficulty from 1 to 10.

        Each reply of a judge is kept in the completions ledger, and each embedding in a table of its own: scoring
        again asks only for new questions.
        """
        source, start, tables, spent = context.partition_key, time.monotonic(), lake.open(), Usage()

        def judge(name: str) -> AskModel:
            reference = recipe.judge(name)
            purpose = Purpose("scored_questions", source)
            return models.ledger_client(tables, reference, reference.sampling, spent, purpose, context.log.info)

        raw = tables.scan(RAW_SOURCES, source=source).collect()
        scores = recipe.scores_for(recipe.source(source).domain)
        means = ScoringContext(
            judge,
            prompt=lambda name: read_prompt(recipe.path(name)),
            examples=lambda examples: read_examples(tables, recipe.path, examples),
            lake=tables,
        )
        scored = score_questions(raw, scores, means)
        tables.replace(SCORED_QUESTIONS, scored.questions, source=source)
        values = [json.loads(row) for row in scored.questions["scores"]]
        pictures = {
            f"scores_{score.name}": histogram([v for row in values if (v := row[score.name]) is not None], score.name)
            for score in scores
        }
        return dg.MaterializeResult(
            data_version=dg.DataVersion(frame_hash(scored.questions)),
            metadata={
                "rows_in": raw.height,
                "dagster/row_count": scored.questions.height,
                "scores_failed": scored.failed,
                **pictures,
                **cost(spent),
                "sample": sample_rows(scored.questions.select("scores", "question")),
                "seconds": round(time.monotonic() - start, 1),
            },
        )

    return scored_questions
