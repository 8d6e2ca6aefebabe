"""Draws the questions of an arm and the rows of its students: a seeded, nested design over several sources."""

from collections.abc import Callable, Mapping

import polars as pl

from openthoughts_dagster.answers import AnswerSet, sample_rows
from openthoughts_dagster.lake import (
    ARM_ANSWERS,
    ARM_PLANS,
    ARM_QUESTIONS,
    DEDUPED_QUESTIONS,
    RAW_SOURCES,
    REJECTED_ARM_ANSWERS,
    SCORED_QUESTIONS,
    Lake,
    text_hashes,
)
from openthoughts_dagster.recipe import Dedup, DomainQuestions, Recipe, Selection
from openthoughts_dagster.recipe.arm_settings import split_questions
from openthoughts_dagster.studies.arms import Arm, StudyError

_NAMES = ("source", "question_id")

Curate = Callable[[pl.LazyFrame, DomainQuestions], pl.DataFrame]
"""Selects, decontaminates and deduplicates scored questions of one source; the questions that stay, the best first."""


def arm_questions(lake: Lake, recipe: Recipe, arm: Arm, curate: Curate) -> pl.DataFrame:
    """Choose the questions of an arm, in the order of its design.

    Each source gives as many questions as its share says. If the arm selects by a score they are the best ones;
    otherwise they are drawn in an order that depends only on the recipe's seed and the question. A larger design
    therefore begins with the questions of a smaller one, and arms share their answers.

    Args:
        lake: The tables.
        recipe: The recipe.
        arm: The arm.
        curate: Curates a source, for an arm with its own selection or dedup.

    Returns:
        Columns position, source and question_id.

    Raises:
        StudyError: A source has no questions, or fewer than its share.
    """
    counts = questions_by_source(arm)
    parts = []
    for source, count in counts.items():
        ordered = _order_questions(lake, recipe, arm, source, curate)
        if ordered.is_empty():
            raise StudyError(
                f"studies.{arm.key}: source {source!r} has no questions: materialize deduped_questions of it, or name "
                "another source"
            )
        if count is not None and ordered.height < count:
            raise StudyError(
                f"studies.{arm.key}.questions: {count:,} of source {source!r}, which has {ordered.height:,} questions: "
                "ask for fewer, give it a smaller share, or keep more of the source (domains.*.selection)"
            )
        parts.append(ordered if count is None else ordered.head(count))
    rows = pl.concat(parts)
    return rows.select(pl.int_range(pl.len(), dtype=pl.Int32).alias("position"), *_NAMES)


def questions_by_source(arm: Arm) -> Mapping[str, int | None]:
    """Return how many questions an arm takes of each source; None means all."""
    return split_questions(list(arm.sources), arm.sources, arm.questions)


def arm_answer_set(lake: Lake, arm: Arm) -> AnswerSet:
    """Return the answer set of an arm: its teacher's answers to the questions of its plan."""
    chosen = lake.scan(ARM_QUESTIONS, arm=arm.key).select(_NAMES)
    texts = lake.scan(SCORED_QUESTIONS).filter(pl.col("source").is_in(list(arm.sources)))
    asked = texts.select(*_NAMES, "question", "scores")
    questions = asked.join(chosen, on=list(_NAMES), how="semi", maintain_order="left")
    return AnswerSet(
        label=arm.key,
        questions=questions,
        samples=arm.samples,
        partition={"arm": arm.key},
        asset=ARM_ANSWERS.name,
        plans=ARM_PLANS,
        answers=ARM_ANSWERS,
        rejected=REJECTED_ARM_ANSWERS,
    )


def student_rows(lake: Lake, arm: Arm, seed: int) -> pl.DataFrame:
    """Draw the rows of one student from the arm's answers with its seed; the rows have no texts.

    Args:
        lake: The tables, with the arm's answers.
        arm: The arm.
        seed: The student's seed.

    Returns:
        Rows as `publish_training_set` takes them.

    Raises:
        StudyError: The arm has no answers.
    """
    answers = lake.scan(ARM_ANSWERS, arm=arm.key).collect()
    if answers.is_empty():
        raise StudyError(f"studies.{arm.key}: it has no answers: materialize arm_answers of it first")
    count = arm.rows or answers.height
    return sample_rows(answers, count, seed, arm.student.repeat_small_sources)


def question_texts(lake: Lake, arm: Arm) -> pl.LazyFrame:
    """Return the columns source, question_id, question and licence of all questions that an arm may have."""
    return (
        lake.scan(RAW_SOURCES).filter(pl.col("source").is_in(list(arm.sources))).select(*_NAMES, "question", "licence")
    )


def _order_questions(lake: Lake, recipe: Recipe, arm: Arm, source: str, curate: Curate) -> pl.DataFrame:
    selection, dedup = arm.settings.selection, arm.settings.dedup
    if selection is None and dedup is None:
        kept = lake.scan(DEDUPED_QUESTIONS, source=source).select(_NAMES).collect()
        return _shuffle(kept, recipe.seed)
    settings = _domain_settings(recipe, source, selection, dedup)
    kept = curate(lake.scan(SCORED_QUESTIONS, source=source), settings)
    return kept.select(_NAMES) if selection is not None else _shuffle(kept.select(_NAMES), recipe.seed)


def _domain_settings(recipe: Recipe, source: str, selection: Selection | None, dedup: Dedup | None) -> DomainQuestions:
    settings = recipe.domain(recipe.source(source).domain)
    changes: dict[str, object] = {
        "selection": selection or settings.selection,
        "dedup": dedup or settings.dedup,
        "downsample": {},
    }
    return settings.model_copy(update=changes)


def _shuffle(rows: pl.DataFrame, seed: int) -> pl.DataFrame:
    order = pl.Series("order", text_hashes([str(seed)], rows["question_id"], []), dtype=pl.String)
    return rows.with_columns(order).sort("order", "question_id").drop("order")
