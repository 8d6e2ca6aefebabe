"""Scores questions with judges, classifiers and embeddings; selection ranks by these scores."""

import json
import random
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from openthoughts_dagster.generation.json_replies import ask_for_json
from openthoughts_dagster.generation.reasoning import join_reasoning
from openthoughts_dagster.generation.requests import AskModel, Prompt
from openthoughts_dagster.lake import Lake, text_hash
from openthoughts_dagster.questions.classifier import fasttext_scores
from openthoughts_dagster.questions.embeddings import embedding_scores
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
from openthoughts_dagster.recipe.loading import SHIPPED
from openthoughts_dagster.recipe.prompt_files import read_prompt_file

_SHIPPED = SHIPPED / "openthoughts3" / "prompts"
_DIFFICULTY = rating_schema("difficulty", 1, 10)
_VALUE = rating_schema("score", 1, 100)
_SLOTS = re.compile(r"({question}|{positives}|{negatives})")


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
        prompt: Reads a prompt file.
        examples: Reads example questions.
        lake: The tables, in which embeddings are stored.
    """

    judge: Callable[[str], AskModel]
    prompt: Callable[[str], str]
    examples: Callable[[Examples], list[str]]
    lake: Lake


def read_prompt(path: str) -> str:
    """Read the prompt file at `path`, or the shipped one of that name.

    Raises:
        ValueError: The file does not exist or has no place for the question.
    """
    return read_prompt_file(path, _SHIPPED, ["question"], "scores.prompt")


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
        ValueError: A prompt file does not exist, or has no place for the question or the examples.
        EmbeddingError: The embedding model cannot be loaded, or its server does not answer.
        EngineError: The judge cannot be used, e.g. because its server refuses the key.
    """
    columns = {score.name: _values(questions, score, context) for score in scores}
    rows = [json.dumps(dict(zip(columns, values, strict=True))) for values in zip(*columns.values(), strict=True)]
    scored = pl.Series("scores", rows if columns else ["{}"] * questions.height, dtype=pl.String)
    return Scored(questions.with_columns(scored), {name: values.count(None) for name, values in columns.items()})


def _values(questions: pl.DataFrame, score: Score, context: ScoringContext) -> Sequence[float | None]:
    return SCORES[score.method](questions, score, context)


def _random(questions: pl.DataFrame, score: RandomScore, context: ScoringContext) -> list[float | None]:
    return [random.Random(f"{score.seed}:{question_id}").random() for question_id in questions["question_id"]]


def _difficulties(questions: pl.DataFrame, score: DifficultyScore, context: ScoringContext) -> list[float | None]:
    template = context.prompt(score.prompt)
    prompts = [template.replace("{question}", text) for text in questions["question"]]
    judge = context.judge(score.judge)
    return ask_for_json(prompts, judge, _DIFFICULTY, lambda v: rating_in(v, "difficulty", 1, 10), score.attempts)


def _judges_lengths(questions: pl.DataFrame, score: ResponseLengthScore, context: ScoringContext) -> list[float | None]:
    return _response_lengths(questions["question"].to_list(), context.judge(score.judge), score.attempts)


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


def _response_lengths(texts: list[str], ask: AskModel, attempts: int) -> list[float | None]:
    """Count the characters, not the tokens, of the whole response (OpenThoughts, arXiv 2506.04178, section 3.3)."""
    lengths: list[float | None] = [None] * len(texts)
    for attempt in range(attempts):
        open_ = [at for at, length in enumerate(lengths) if length is None]
        if not open_:
            break
        for at, [answer] in zip(open_, ask([Prompt(texts[at], 1, attempt) for at in open_]), strict=True):
            if answer.error is None:
                lengths[at] = float(len(join_reasoning(answer.reasoning, answer.answer)))
    return lengths


def _like_examples(
    texts: list[str], positives: list[str], negatives: list[str], score: AskLlmScore, context: ScoringContext
) -> list[float | None]:
    template = context.prompt(score.prompt)
    for slot in ("{positives}", "{negatives}"):
        if slot not in template:
            raise ValueError(f"the prompt file {score.prompt} has no {slot} in it; put it where those examples belong")
    filled = {
        slot: examples_text(sorted(examples, key=lambda text: text_hash(score.name, text))[: score.shown])
        for slot, examples in (("{positives}", positives), ("{negatives}", negatives))
    }
    # Split the prompt first: the name of a slot may occur inside a question or an example.
    parts = [filled.get(part, part) for part in _SLOTS.split(template)]
    prompts = ["".join(text if part == "{question}" else part for part in parts) for text in texts]
    return ask_for_json(
        prompts, context.judge(score.judge), _VALUE, lambda value: rating_in(value, "score", 1, 100), score.attempts
    )


ScoreFunction = Callable[[pl.DataFrame, Any, ScoringContext], Sequence[float | None]]
"""Questions, the score's settings and the context in; out comes a number for each question, or None without one."""

SCORES: Mapping[str, ScoreFunction] = {
    "random": _random,
    "difficulty": _difficulties,
    "response_length": _judges_lengths,
    "ask_llm": _asked_llm,
    "fasttext": _classified,
    "embedding": _embedded,
}
"""The function of each method of a score. To add one, add its settings to recipe/questions.py and its function here."""
