"""The catalogue of all assets with their partitions, tables, inputs, work, automation and checks.

Definitions, automation, jobs, reconciliation, checks, and the commands `status` and `plan` read it. A new asset needs
an entry here and a file in `assets/` (docs/extending.md).
"""

from collections.abc import Sequence

from openthoughts_dagster.defs import automation, check_rules
from openthoughts_dagster.defs.asset_entry import ERROR, QUICKSTART_MODELS, WARN, AssetEntry
from openthoughts_dagster.defs.assets.benchmark_scores import benchmark_scores_asset
from openthoughts_dagster.defs.assets.deduped_questions import deduped_questions_asset
from openthoughts_dagster.defs.assets.generation_costs import generation_costs_asset
from openthoughts_dagster.defs.assets.quickstart_models import quickstart_models_asset
from openthoughts_dagster.defs.assets.rankings import ranking_asset
from openthoughts_dagster.defs.assets.raw_sources import raw_sources_asset
from openthoughts_dagster.defs.assets.reference_scores import reference_scores_asset
from openthoughts_dagster.defs.assets.scored_questions import scored_questions_asset
from openthoughts_dagster.defs.assets.student_checkpoint import student_checkpoint_asset
from openthoughts_dagster.defs.assets.teacher_answers import teacher_answers_asset
from openthoughts_dagster.defs.jobs import ANSWERS, EVALUATION, MODELS, QUESTIONS, RANKINGS, REFERENCES, STUDENTS
from openthoughts_dagster.defs.partitions import BY_CELL, BY_REFERENCE, BY_SOURCE
from openthoughts_dagster.defs.release_entries import RELEASE_ENTRIES
from openthoughts_dagster.defs.study_entries import STUDY_ENTRIES
from openthoughts_dagster.lake import (
    BENCHMARK_SCORES,
    DEDUPED_QUESTIONS,
    GENERATION_COSTS,
    RAW_SOURCES,
    REFERENCE_SCORES,
    SCORED_QUESTIONS,
    SOURCE_RANKING,
    STUDENT_CHECKPOINTS,
    TEACHER_ANSWERS,
    TEACHER_RANKING,
)
from openthoughts_dagster.recipe import Recipe

CATALOGUE: tuple[AssetEntry, ...] = (
    AssetEntry(
        QUICKSTART_MODELS,
        quickstart_models_asset,
        group="quickstart",
        owner="models",
        kinds=frozenset({"pytorch"}),
        runs="student",
        jobs=(MODELS,),
        checks={check_rules.tiny_models_are_able: WARN},
        present=lambda recipe: recipe.tiny_models is not None,
    ),
    AssetEntry(
        "raw_sources",
        raw_sources_asset,
        group="questions",
        owner="data",
        kinds=frozenset({"deltalake", "polars"}),
        partitions=BY_SOURCE,
        table=RAW_SOURCES,
        runs="judge",
        jobs=(QUESTIONS,),  # the landing sensor requests it
        checks={
            check_rules.raw_rows_add_up: ERROR,
            check_rules.raw_questions_are_whole: ERROR,
            check_rules.raw_few_rejected: WARN,
        },
        watched_for_age=True,
    ),
    AssetEntry(
        "scored_questions",
        scored_questions_asset,
        group="questions",
        owner="data",
        kinds=frozenset({"deltalake", "llm"}),
        partitions=BY_SOURCE,
        table=SCORED_QUESTIONS,
        inputs=("raw_sources",),
        uses_models=True,
        runs="judge",
        retries=True,
        pays_models=True,
        condition=lambda _: automation.FOLLOWS_CHANGES,
        jobs=(QUESTIONS,),
        checks={check_rules.scored_are_the_raw_questions: ERROR, check_rules.scores_are_present: WARN},
    ),
    AssetEntry(
        "deduped_questions",
        deduped_questions_asset,
        group="questions",
        owner="data",
        kinds=frozenset({"deltalake", "polars"}),
        partitions=BY_SOURCE,
        table=DEDUPED_QUESTIONS,
        inputs=("scored_questions",),
        condition=lambda _: automation.FOLLOWS_CHANGES,
        jobs=(QUESTIONS,),
        checks={
            check_rules.curated_rows_add_up: ERROR,
            check_rules.curated_questions_are_unique: ERROR,
            check_rules.no_benchmark_questions: ERROR,
            check_rules.every_benchmark_was_compared: WARN,
        },
    ),
    AssetEntry(
        "teacher_answers",
        teacher_answers_asset,
        group="answers",
        owner="models",
        kinds=frozenset({"deltalake", "llm"}),
        partitions=BY_CELL,
        table=TEACHER_ANSWERS,
        inputs=("deduped_questions",),
        uses_models=True,
        runs="teacher",
        retries=True,
        pays_models=True,
        condition=lambda _: automation.ONCE_STARTED,
        sensor="expensive_assets",
        jobs=(ANSWERS, STUDENTS),
        checks={check_rules.answers_are_complete: ERROR, check_rules.traces_are_closed: WARN},
    ),
    AssetEntry(
        "student_checkpoint",
        student_checkpoint_asset,
        group="students",
        owner="models",
        kinds=frozenset({"pytorch", "huggingface"}),
        partitions=BY_CELL,
        table=STUDENT_CHECKPOINTS,
        inputs=("teacher_answers",),
        uses_models=True,
        runs="student",
        retries=True,
        pays_models=True,
        condition=automation.students_schedule,
        sensor="expensive_assets",
        jobs=(EVALUATION, STUDENTS),
        checks={check_rules.checkpoint_is_whole: ERROR, check_rules.loss_fell: WARN},
    ),
    AssetEntry(
        "benchmark_scores",
        benchmark_scores_asset,
        group="students",
        owner="models",
        kinds=frozenset({"deltalake", "huggingface"}),
        partitions=BY_CELL,
        table=BENCHMARK_SCORES,
        inputs=("student_checkpoint",),
        runs="student",
        retries=True,
        pays_models=True,
        condition=automation.scores_of_scheduled_students,
        sensor="expensive_assets",
        jobs=(EVALUATION, STUDENTS),
        checks={check_rules.every_item_is_scored: ERROR, check_rules.beats_untrained: WARN},
    ),
    AssetEntry(
        "reference_scores",
        reference_scores_asset,
        group="students",
        owner="models",
        kinds=frozenset({"deltalake", "huggingface"}),
        partitions=BY_REFERENCE,
        table=REFERENCE_SCORES,
        uses_models=True,
        runs="teacher",
        retries=True,
        pays_models=True,
        jobs=(REFERENCES,),
        checks={check_rules.every_item_is_scored: ERROR},
    ),
    AssetEntry(
        "generation_costs",
        generation_costs_asset,
        group="answers",
        owner="data",
        kinds=frozenset({"deltalake", "polars"}),
        table=GENERATION_COSTS,
        inputs=("scored_questions", "teacher_answers", "benchmark_scores"),
        condition=lambda _: automation.HOURLY,
        jobs=(RANKINGS,),
        checks={check_rules.costs_add_up: ERROR},
        watched_for_age=True,
    ),
    *STUDY_ENTRIES,
    *RELEASE_ENTRIES,
    *(
        AssetEntry(
            f"{by}_ranking",
            ranking_asset,
            group="rankings",
            owner="data",
            kinds=frozenset({"deltalake", "polars"}),
            table=table,
            inputs=("benchmark_scores",),
            condition=lambda _: automation.FOLLOWS_WHAT_IS_THERE,
            jobs=(RANKINGS,),
            checks=dict.fromkeys(rules, WARN),
            watched_for_age=True,
        )
        for by, table, rules in (
            ("source", SOURCE_RANKING, (check_rules.sources_all_ranked, check_rules.best_sources_are_told_apart)),
            ("teacher", TEACHER_RANKING, (check_rules.teachers_all_ranked,)),
        )
    ),
)


def entries_of(recipe: Recipe, catalogue: Sequence[AssetEntry] = CATALOGUE) -> list[AssetEntry]:
    """List the entries of the assets that a recipe has."""
    return [entry for entry in catalogue if entry.present(recipe)]


def entry_of(name: str, catalogue: Sequence[AssetEntry] = CATALOGUE) -> AssetEntry:
    """Return the entry of the asset called `name`. Raises KeyError."""
    return {entry.name: entry for entry in catalogue}[name]
