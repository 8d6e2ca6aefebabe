"""Named jobs: the pieces in which a recipe is run. Each can be launched and backfilled from the UI as well."""

from typing import Any

import dagster as dg

from openthoughts_dagster.recipe import Recipe

MODELS, QUESTIONS, STUDENTS, RANKINGS = "models", "refresh_questions", "students", "rankings"
ANSWERS, EVALUATION = "backfill_teacher", "evaluate_students"


def recipe_jobs(recipe: Recipe) -> list[Any]:
    """Jobs by source (questions), by source and teacher (answers, students, or both in one run), and the rankings."""
    jobs = [
        dg.define_asset_job(
            QUESTIONS,
            selection=["raw_sources", "scored_questions", "deduped_questions"],
            description="Read, score, select and clean the questions of sources.",
        ),
        dg.define_asset_job(
            ANSWERS,
            selection=["teacher_answers"],
            description="Let teachers answer: launch a backfill, and pick one teacher and the sources.",
        ),
        dg.define_asset_job(
            EVALUATION,
            selection=["student_checkpoint", "benchmark_scores"],
            description="Train students on the answers that are there, and score them.",
        ),
        dg.define_asset_job(
            STUDENTS,
            selection=["teacher_answers", "student_checkpoint", "benchmark_scores"],
            description="From questions to scores in one run for each source and teacher.",
        ),
        dg.define_asset_job(
            RANKINGS,
            selection=["source_ranking", "teacher_ranking", "generation_costs"],
            description="Rank sources and teachers by the scores that are there, and sum up what it all cost.",
        ),
    ]
    if recipe.tiny_models:
        models = dg.define_asset_job(
            MODELS, selection=["quickstart_models"], description="Train the tiny models of the quickstart."
        )
        jobs.insert(0, models)
    return jobs
