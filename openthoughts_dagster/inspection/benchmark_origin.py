"""The way back: from a benchmark's item to the training questions that are most like it."""

from typing import Any

import polars as pl

from openthoughts_dagster.evaluation import BenchmarkError, benchmark_items, benchmark_questions
from openthoughts_dagster.inspection.students import scored_students
from openthoughts_dagster.inspection.trace import NothingTraced
from openthoughts_dagster.lake import DEDUPED_QUESTIONS, REJECTED_QUESTIONS, TRAINING_SETS, Lake, text_hash
from openthoughts_dagster.questions.decisions import STEPS
from openthoughts_dagster.questions.likeness import most_like
from openthoughts_dagster.recipe import Recipe

Row = dict[str, Any]


def trace_item(lake: Lake, recipe: Recipe, benchmark: str, item: str, count: int = 10) -> Row:
    """Find the training questions that are most like an item of a benchmark.

    Args:
        lake: The tables.
        recipe: The recipe, which has the benchmark.
        benchmark: Its name.
        item: The item's id, or the beginning of it, or its place in the benchmark from 0.
        count: How many questions are returned.

    Returns:
        A value that JSON can hold: benchmark, item, question, and `training_questions`: source, question_id,
        similarity, shared (the longest run of words that both have), question, and training_sets (the students that
        learned it); and `dropped_as_leaks`, the questions that decontamination dropped because of this item.

    Raises:
        NothingTraced: The recipe has no such benchmark or item, or its question cannot be read.
    """
    question = _question_of(lake, recipe, benchmark, item)
    like = most_like(lake.scan(DEDUPED_QUESTIONS), question, count)
    ids = like["question_id"].to_list()
    sets = (
        lake.scan(TRAINING_SETS)
        .filter(pl.col("question_id").is_in(ids))
        .group_by("question_id")
        .agg(pl.col("training_set").unique().sort())
        .collect()
    )
    learned = dict(sets.iter_rows())
    return {
        "benchmark": benchmark,
        "item": item,
        "question": question,
        "training_questions": [
            row | {"training_sets": learned.get(row["question_id"], [])} for row in like.iter_rows(named=True)
        ],
        "dropped_as_leaks": _leaks(lake, question, count),
    }


def _question_of(lake: Lake, recipe: Recipe, benchmark: str, item: str) -> str:
    known = [each for each in recipe.evaluation.benchmarks if each.name == benchmark]
    if not known:
        there = ", ".join(each.name for each in recipe.evaluation.benchmarks)
        raise NothingTraced(f"recipe {recipe.name!r} has no benchmark {benchmark!r}; it has {there}")
    only = recipe.evaluation.model_copy(update={"benchmarks": known})
    try:
        questions = benchmark_questions(only, recipe.path)[0]["question"].to_list()
    except BenchmarkError as error:
        raise NothingTraced(f"the questions of {benchmark} cannot be read: {error}") from error
    if item.isdigit() and len(item) < 8 and int(item) < len(questions):
        return str(questions[int(item)])
    of_hash = item.partition("-")[0]
    for question in questions:
        if of_hash and text_hash(question).startswith(of_hash):
            return str(question)
    return _question_in_scores(lake, benchmark, item, questions)


def _question_in_scores(lake: Lake, benchmark: str, item: str, questions: list[str]) -> str:
    """Find an item whose prompt is not its question: by its place in the scores, or else by its prompt."""
    for student in scored_students(lake):
        own = pl.col("item").str.starts_with(item) & (pl.col("benchmark") == benchmark)
        rows = lake.scan(student.scores, **student.partition).filter(own).select("position").head(1).collect()
        if rows.is_empty():
            continue
        position = rows["position"].item()
        if position is not None and position < len(questions):
            return str(questions[position])
        prompts = benchmark_items(lake, student.scores, **student.partition).filter(own).select("prompt")
        if (prompt := prompts.drop_nulls().head(1).collect()).height:
            return str(prompt.item())
    raise NothingTraced(
        f"{benchmark} has no item {item!r}: give an id as `openthoughts items` shows it, or a place from 0 to "
        f"{len(questions) - 1:,}"
    )


def _leaks(lake: Lake, question: str, count: int) -> list[Row]:
    beginning = question[:1000]  # as much as the evidence of a leak shows
    rows = (
        lake.scan(REJECTED_QUESTIONS, stage=DEDUPED_QUESTIONS.name)
        .filter(pl.col("reason").is_in(STEPS["decontamination"]))
        .filter(pl.col("evidence").str.json_path_match("$.text").str.starts_with(beginning))
        .select("source", "question_id", "reason", "question")
        .head(count)
    )
    return list(rows.collect().iter_rows(named=True))
