"""Questions with the scores that selection uses."""

import json
import time
from collections.abc import Sequence
from typing import Any

import dagster as dg

from openthoughts_dagster.defs.asset_entry import AssetEntry
from openthoughts_dagster.defs.metadata import draw_histogram, sample_rows, show_cost, show_counts
from openthoughts_dagster.defs.resources import LakeResource, ModelsResource
from openthoughts_dagster.defs.retry_tag import retry_refused_before
from openthoughts_dagster.defs.settings import Settings
from openthoughts_dagster.defs.steps import resumable
from openthoughts_dagster.defs.waiting import judges_wait_for_person, most_scored_by_automation
from openthoughts_dagster.generation.ledger_writer import Purpose
from openthoughts_dagster.generation.usage import Usage
from openthoughts_dagster.lake import RAW_SOURCES, SCORED_QUESTIONS, frame_hash
from openthoughts_dagster.questions import Scored, score_questions
from openthoughts_dagster.questions.examples import read_examples
from openthoughts_dagster.questions.scoring import ScoringContext
from openthoughts_dagster.recipe import Recipe, read_score_prompt


def scored_questions_asset(entry: AssetEntry, recipe: Recipe, _: Settings) -> dg.AssetsDefinition:
    """Make the asset that scores questions as `recipe` says for each domain."""

    @dg.asset(**entry.arguments(recipe))
    @resumable
    def scored_questions(
        context: dg.AssetExecutionContext, lake: LakeResource, models: ModelsResource
    ) -> dg.MaterializeResult:
        """Every question of one source with its scores, such as a judge's difficulty from 1 to 10.

        Each reply of a judge is kept in the ledger of completions, and each embedding in a table of its own. So scoring
        again asks only about new questions.
        """
        source, start, tables, spent = context.partition_key, time.monotonic(), lake.open(), Usage()
        raw = tables.scan(RAW_SOURCES, source=source).collect()
        again = retry_refused_before(context)
        most = most_scored_by_automation(context, tables, raw)
        scoring = ScoringContext(
            models.judges(tables, recipe, spent, Purpose(entry.name, source), context.log.info, most, again),
            prompt=lambda score: read_score_prompt(score, recipe.path),
            examples=lambda examples: read_examples(tables, recipe.path, examples),
            lake=tables,
        )
        with judges_wait_for_person(context):
            scored = score_questions(raw, recipe.scores_for(recipe.source(source).domain), scoring)
        tables.replace(SCORED_QUESTIONS, scored.questions, source=source)
        return dg.MaterializeResult(
            data_version=dg.DataVersion(frame_hash(scored.questions)),
            metadata={
                "rows_in": raw.height,
                **_metadata(scored, [score.name for score in recipe.scores_for(recipe.source(source).domain)]),
                **show_cost(spent),
                "seconds": round(time.monotonic() - start, 1),
            },
        )

    return scored_questions


def _metadata(scored: Scored, scores: Sequence[str]) -> dict[str, Any]:
    """Make the distribution of each score, and a few questions with their scores."""
    values = [json.loads(row) for row in scored.questions["scores"]]
    return {
        "dagster/row_count": scored.questions.height,
        "scores_failed": show_counts(scored.failed, "score"),
        **{
            f"scores_{name}": draw_histogram([value for row in values if (value := row[name]) is not None], name)
            for name in scores
        },
        "sample": sample_rows(scored.questions.select("scores", "question")),
    }
