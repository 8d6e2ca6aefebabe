"""Scores questions with judges, classifiers and embeddings; selection ranks by these scores."""

import json
import math
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from openthoughts_dagster.generation.json_replies import ask_for_json
from openthoughts_dagster.generation.requests import AskModel
from openthoughts_dagster.lake import Lake, text_hash
from openthoughts_dagster.questions.classifier import fasttext_scores
from openthoughts_dagster.questions.embeddings import embedding_scores
from openthoughts_dagster.questions.lengths import judged_lengths, source_lengths
from openthoughts_dagster.questions.replies import examples_text, rating_in, rating_schema
from openthoughts_dagster.recipe import (
    AskLlmScore,
    DifficultyScore,
    EmbeddingScore,
    Examples,
    FastTextScore,
    RandomScore,
    ResponseLengthScore,
    Score,
)
from openthoughts_dagster.recipe.prompts import fill_slots

_DIFFICULTY = rating_schema("difficulty", 1, 10)
_VALUE = rating_schema("score", 1, 100)


@dataclass(frozen=True)
class Scored:
    """The questions with a column `scores` (a JSON object of name to number or null), and the nulls of each score."""

    questions: pl.DataFrame
    failed: dict[str, int]


@dataclass(frozen=True)
class ScoringContext:
    """The functions that scores need.

    Args:
        judge: Opens a judge by name.
        prompt: Reads the prompt of a score, whose slots were checked.
        examples: Reads example questions.
        lake: The tables, in which embeddings are stored.
    """

    judge: Callable[[str], AskModel]
    prompt: Callable[[Score], str]
    examples: Callable[[Examples], list[str]]
    lake: Lake


def score_questions(questions: pl.DataFrame, scores: list[Score], context: ScoringContext) -> Scored:
    """Give every question every score.

    A judge whose reply cannot be read is asked again for another sample. If no reply can be read the score is null:
    the question stays, and selection puts it last.

    Args:
        questions: Rows of the table raw_sources.
        scores: The recipe's scores of the source's domain.
        context: Judges, prompt files, examples, and the lake in which embeddings are stored.

    Returns:
        The questions with a column `scores`, and for each score the number of questions without it.

    Raises:
        PromptError: A prompt file does not exist, lacks a slot, or has one that nothing fills in.
        ValueError: A score needs the source's own answers, and no question has one.
        EmbeddingError: The embedding model cannot be loaded, or its server does not answer.
        EngineError: The judge cannot be used, e.g. because its server refuses the key.
    """
    columns = {score.name: _values(questions, score, context) for score in scores}
    rows = [json.dumps(dict(zip(columns, values, strict=True))) for values in zip(*columns.values(), strict=True)]
    scored = pl.Series("scores", rows if columns else ["{}"] * questions.height, dtype=pl.String)
    return Scored(questions.with_columns(scored), {name: values.count(None) for name, values in columns.items()})


def _values(questions: pl.DataFrame, score: Score, context: ScoringContext) -> Sequence[float | None]:
    """Compute a score. A number that is not finite is no score, and JSON could not hold it."""
    values = SCORES[score.method](questions, score, context)
    return [None if value is None or not math.isfinite(value) else value for value in values]


def _random(questions: pl.DataFrame, score: RandomScore, context: ScoringContext) -> list[float | None]:
    return [random.Random(f"{score.seed}:{question_id}").random() for question_id in questions["question_id"]]


def _difficulties(questions: pl.DataFrame, score: DifficultyScore, context: ScoringContext) -> list[float | None]:
    template = context.prompt(score)
    rows = list(questions.select("question", "reference_answer").iter_rows())
    shown: Sequence[int] = range(len(rows))
    if "{answer}" in template:  # a judge that sees no answer would rate something else
        shown = [at for at, (_, answer) in enumerate(rows) if answer is not None]
        require_answers(len(shown), questions, f"scores.{score.name}.prompt shows {{answer}}")
    prompts = [
        fill_slots(template, {"question": rows[at][0], "answer": rows[at][1] or "", "answer?": rows[at][1] or ""})
        for at in shown
    ]
    judge = context.judge(score.judge)
    rated = ask_for_json(prompts, judge, _DIFFICULTY, lambda v: rating_in(v, "difficulty", 1, 10), score.attempts)
    values = dict(zip(shown, rated, strict=True))
    return [values.get(at) for at in range(len(rows))]


def _lengths(questions: pl.DataFrame, score: ResponseLengthScore, context: ScoringContext) -> list[float | None]:
    if score.judge is None:
        lengths = source_lengths(questions["reference_answer"].to_list(), score)
        require_answers(len(lengths) - lengths.count(None), questions, f"scores.{score.name} measures the source's own")
        return lengths
    return judged_lengths(questions["question"].to_list(), context.judge(score.judge), score)


def _asked_llm(questions: pl.DataFrame, score: AskLlmScore, context: ScoringContext) -> Sequence[float | None]:
    positives, negatives = context.examples(score.positives), context.examples(score.negatives)
    texts = questions["question"].to_list()
    return _like_examples(texts, positives, negatives, score, context) if texts else []


def _classified(questions: pl.DataFrame, score: FastTextScore, context: ScoringContext) -> Sequence[float | None]:
    positives, negatives = context.examples(score.positives), context.examples(score.negatives)
    texts = questions["question"].to_list()
    return fasttext_scores(texts, positives, negatives, score) if texts else []


def _embedded(questions: pl.DataFrame, score: EmbeddingScore, context: ScoringContext) -> Sequence[float | None]:
    positives, negatives = context.examples(score.positives), context.examples(score.negatives)
    texts = questions["question"].to_list()
    return embedding_scores(texts, positives, negatives, score, context.lake) if texts else []


def require_answers(answers: int, questions: pl.DataFrame, what: str) -> None:
    """Raise ValueError when a score needs the source's own answers, and none of the questions has one."""
    if questions.height and not answers:
        raise ValueError(
            f"{what}, and no question of {questions['source'][0]} has an answer: set columns.answer of the source, or "
            "leave its domain out of the score's `domains`"
        )


def _like_examples(
    texts: list[str], positives: list[str], negatives: list[str], score: AskLlmScore, context: ScoringContext
) -> list[float | None]:
    template = context.prompt(score)
    shown = {
        slot: examples_text(sorted(examples, key=lambda text: text_hash(score.name, text))[: score.shown])
        for slot, examples in (("positives", positives), ("negatives", negatives))
    }
    prompts = [fill_slots(template, {"question": text, **shown}) for text in texts]
    return ask_for_json(
        prompts, context.judge(score.judge), _VALUE, lambda value: rating_in(value, "score", 1, 100), score.attempts
    )


ScoreFunction = Callable[[pl.DataFrame, Any, ScoringContext], Sequence[float | None]]
"""Questions, the score's settings and the context in; out comes a number for each question, or None without one."""

SCORES: Mapping[str, ScoreFunction] = {
    "random": _random,
    "difficulty": _difficulties,
    "response_length": _lengths,
    "ask_llm": _asked_llm,
    "fasttext": _classified,
    "embedding": _embedded,
}
"""The function of each method of a score. To add one, add its settings to recipe/questions.py and its function here."""
