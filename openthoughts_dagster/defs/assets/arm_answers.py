"""The answers of teachers to the questions of a study's arms."""

import dagster as dg
import polars as pl

from openthoughts_dagster.defs.answer_graph import AnswerRequest, answer_graph
from openthoughts_dagster.defs.asset_entry import AssetEntry
from openthoughts_dagster.defs.settings import Settings
from openthoughts_dagster.evaluation import benchmark_questions
from openthoughts_dagster.lake import ARM_ANSWERS, ARM_QUESTIONS, COMPLETIONS, Lake, begin_rows, record_settings
from openthoughts_dagster.questions import compared_questions, curate
from openthoughts_dagster.recipe import DomainQuestions, Recipe
from openthoughts_dagster.studies import (
    Arm,
    arm_answer_set,
    arm_named,
    arm_questions,
    arm_settings,
    require_current_questions,
)

_DESCRIPTION = """Sampled answers of one arm's teacher to the arm's questions.

All assets share one ledger: an answer that a cell or another arm has already asked for costs nothing. A person launches
this asset. Nothing of a study starts automatically."""


def arm_answers_asset(entry: AssetEntry, recipe: Recipe, _: Settings) -> dg.AssetsDefinition:
    """Make the asset that asks teachers for the arms of studies."""

    def choose_questions(lake: Lake, key: str) -> None:
        arm = arm_named(recipe, lake, key)
        require_current_questions(lake, recipe, arm)
        begin_rows(lake, entry.name, key, arm_settings(recipe, arm))
        chosen = arm_questions(lake, recipe, arm, lambda scored, settings: _curated(recipe, scored, settings))
        lake.replace(ARM_QUESTIONS, chosen.with_columns(arm=pl.lit(key)).select(list(ARM_QUESTIONS.columns)), arm=key)

    def request_of(lake: Lake, key: str) -> AnswerRequest:
        arm = arm_named(recipe, lake, key)
        return AnswerRequest(
            model=arm.teacher,
            answers=arm_answer_set(lake, arm),
            keep=arm.keep,
            missing_allowed=recipe.missing_answers,
            price_limit=money_left(lake, arm),
            student=arm.student,
        )

    def record(lake: Lake, key: str) -> None:
        record_settings(lake, entry.name, key, arm_settings(recipe, arm_named(recipe, lake, key)))

    return answer_graph(entry, recipe, _DESCRIPTION, request_of, choose_questions, record)


def _curated(recipe: Recipe, scored: pl.LazyFrame, settings: DomainQuestions) -> pl.DataFrame:
    benchmarks, _ = benchmark_questions(recipe.evaluation, recipe.path)
    against = [recipe.path(path) for path in settings.dedup.against]
    known = compared_questions(benchmarks, recipe.evaluation, recipe.decontamination, recipe.path)
    return curate(scored, settings, recipe.decontamination, known, against).questions


def money_left(lake: Lake, arm: Arm) -> float | None:
    """Return what a study's answers may still cost: its limit minus the cost of all its arms; None without a limit."""
    limit = arm.study.price_limit
    if limit is None:
        return None
    own = (pl.col("asset") == ARM_ANSWERS.name) & pl.col("source").str.starts_with(f"{arm.study.name}.")
    return limit - float(lake.scan(COMPLETIONS).filter(own).select(pl.col("cost").sum()).collect().item() or 0.0)
