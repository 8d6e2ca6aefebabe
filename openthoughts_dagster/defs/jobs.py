"""Named jobs: the pieces in which a whole recipe is run. Each can be launched and backfilled from the UI as well."""

from typing import Any

import dagster as dg

from openthoughts_dagster.recipe import Recipe

MODELS, QUESTIONS, STUDENTS, RANKINGS = "models", "questions", "students", "rankings"


def recipe_jobs(recipe: Recipe) -> list[Any]:
    """Jobs over the assets of one group each; `questions` runs by source, `students` by source and teacher."""
    selections = {
        QUESTIONS: ["raw_sources", "scored_questions", "deduped_questions"],
        STUDENTS: ["teacher_answers", "student_checkpoint", "benchmark_scores"],
        RANKINGS: ["source_ranking", "teacher_ranking", "generation_costs"],
    }
    if recipe.tiny_models:
        selections = {MODELS: ["quickstart_models"], **selections}
    return [dg.define_asset_job(name, selection=assets) for name, assets in selections.items()]
