"""Scores of questions, from judges and without: what selection ranks by."""

import json
import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from openthoughts_dagster.generation.reasoning import join_reasoning
from openthoughts_dagster.generation.requests import Ask, Prompt
from openthoughts_dagster.recipe import DifficultyScore, RandomScore, ResponseLengthScore, Score

# Field order matters to a model that writes from left to right: the paper's labelers explain after they rate.
_RATING = {
    "type": "object",
    "properties": {"difficulty": {"type": "integer", "minimum": 1, "maximum": 10}, "reasoning": {"type": "string"}},
    "required": ["difficulty"],
    "additionalProperties": False,
}


@dataclass(frozen=True)
class Scored:
    """The questions with a column `scores` (JSON object of name to number or null), and nulls counted by score."""

    questions: pl.DataFrame
    failed: dict[str, int]


def read_prompt(path: str) -> str:
    """The prompt file at `path`. Raises ValueError when it is absent or has no place for the question."""
    try:
        text = Path(path).read_text(encoding="utf-8")
    except OSError as error:
        raise ValueError(f"the prompt file {path} cannot be read: {error.strerror}; correct scores.prompt") from error
    if "{question}" not in text:
        raise ValueError(f"the prompt file {path} has no {{question}} in it; put it where the question belongs")
    return text


def score_questions(
    questions: pl.DataFrame, scores: list[Score], judge: Callable[[str], Ask], prompt: Callable[[str], str]
) -> Scored:
    """Give every question every score. `judge` opens a judge by name, `prompt` reads a prompt file.

    A reply that cannot be read is asked again as another sample, then the score is null: the question stays, and
    selection sorts it last.
    """
    texts = questions["question"].to_list()
    columns: dict[str, list[float | None]] = {}
    for score in scores:
        if isinstance(score, DifficultyScore):
            columns[score.name] = _difficulties(texts, score, judge(score.judge), prompt(score.prompt))
        elif isinstance(score, ResponseLengthScore):
            columns[score.name] = _response_lengths(texts, judge(score.judge))
        elif isinstance(score, RandomScore):
            columns[score.name] = [
                random.Random(f"{score.seed}:{question_id}").random() for question_id in questions["question_id"]
            ]
    rows = [json.dumps(dict(zip(columns, values, strict=True))) for values in zip(*columns.values(), strict=True)]
    scored = pl.Series("scores", rows if columns else ["{}"] * len(texts), dtype=pl.String)
    return Scored(questions.with_columns(scored), {name: values.count(None) for name, values in columns.items()})


def _difficulties(texts: list[str], score: DifficultyScore, ask: Ask, template: str) -> list[float | None]:
    ratings: list[float | None] = [None] * len(texts)
    for attempt in range(score.attempts):
        open_ = [i for i, rating in enumerate(ratings) if rating is None]
        if not open_:
            break
        prompts = [Prompt(template.replace("{question}", texts[i]), 1, attempt, _RATING) for i in open_]
        for i, [answer] in zip(open_, ask(prompts), strict=True):
            ratings[i] = None if answer.error else read_rating(answer.answer)
    return ratings


def read_rating(reply: str) -> float | None:
    """The difficulty in a judge's JSON reply, or None when there is none from 1 to 10.

    Servers that ignore the schema wrap the object in prose or a code fence: the outermost braces count.
    """
    try:
        value = json.loads(reply[reply.index("{") : reply.rindex("}") + 1])["difficulty"]
    except (ValueError, KeyError, TypeError):
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if 1 <= value <= 10 else None


def _response_lengths(texts: list[str], ask: Ask) -> list[float | None]:
    """Characters of the whole response (OpenThoughts, arXiv 2506.04178, section 3.3: not tokens)."""
    answers = ask([Prompt(text) for text in texts])
    return [None if a.error else float(len(join_reasoning(a.reasoning, a.answer))) for [a] in answers]
