"""The replies from which a question's scores were made, found by scoring it again from the ledger alone."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import polars as pl

from openthoughts_dagster.generation.engine import EngineError
from openthoughts_dagster.generation.generate import plan
from openthoughts_dagster.generation.ledger import read_answers
from openthoughts_dagster.generation.model import Model, locate
from openthoughts_dagster.generation.requests import Answer, AskModel, Prompt
from openthoughts_dagster.lake import COMPLETIONS, RAW_SOURCES, Lake
from openthoughts_dagster.questions import score_questions
from openthoughts_dagster.questions.examples import ExamplesError, read_examples
from openthoughts_dagster.questions.scoring import ScoringContext
from openthoughts_dagster.recipe import Judge, Recipe, Score, read_score_prompt
from openthoughts_dagster.storage import Folders, StorageError

_NEVER_ASKED = "it was never asked with the recipe's present prompt and settings"
Row = dict[str, Any]


def judge_replies(lake: Lake, recipe: Recipe, folders: Folders, question: Row) -> list[Row]:
    """Find what judges replied about a question. Asks no model.

    The question is scored once more with a judge that only reads the ledger, so prompts and keys are those of the
    asset.

    Args:
        lake: The tables.
        recipe: The recipe, whose scores and judges are used.
        folders: Fetches the tokenizers of judges.
        question: A row of `raw_sources`.

    Returns:
        A row for each reply, in the order of asking: score, judge, completion_id, reply, reasoning, error, and cost,
        currency and created_at of the ledger. A judge whose tokenizer is not here has a row with an error.
    """
    replies: list[Row] = []
    for score in recipe.scores_for(question["domain"]):
        name = getattr(score, "judge", None)
        if name is None:
            continue
        try:
            replies += _replies_of(lake, recipe, folders, score, recipe.judge(name), question)
        except (EngineError, StorageError, ExamplesError, ValueError) as error:
            says = str(error).splitlines()[0]
            replies.append({"score": score.name, "judge": name, "error": f"its replies cannot be found here: {says}"})
    return _with_costs(lake, replies)


def rewriting_replies(lake: Lake, question: Row) -> list[Row]:
    """Find the replies of a judge that wrote a question, or found it in a document; none if no judge did.

    Args:
        lake: The tables.
        question: A row of `raw_sources`.

    Returns:
        Rows with completion_id, judge, prompt, reply, cost, currency and created_at.
    """
    if "judge" not in json.loads(question["origin"]):
        return []
    written = json.dumps(question["question"], ensure_ascii=False)[1:-1]
    ascii_only = json.dumps(question["question"])[1:-1]
    contains = [pl.col("answer").str.contains(text, literal=True) for text in {written, ascii_only}]
    return list(
        lake.scan(COMPLETIONS)
        .filter(
            pl.col("asset") == RAW_SOURCES.name, pl.col("source") == question["source"], pl.any_horizontal(contains)
        )
        .select(
            "completion_id",
            "prompt",
            "cost",
            "currency",
            "created_at",
            judge=pl.col("asked_as"),
            reply=pl.col("answer"),
        )
        .collect()
        .iter_rows(named=True)
    )


def _replies_of(lake: Lake, recipe: Recipe, folders: Folders, score: Score, judge: Judge, question: Row) -> list[Row]:
    model = locate(judge, Path(recipe.folder), folders, weights=False)
    heard: list[Row] = []
    context = ScoringContext(
        judge=lambda _: _listener(lake, model, judge, score.name, heard),
        prompt=lambda score: read_score_prompt(score, recipe.path),
        examples=lambda examples: read_examples(lake, recipe.path, examples),
        lake=lake,
    )
    score_questions(pl.DataFrame([question], schema=RAW_SOURCES.schema), [score], context)
    return heard


def _listener(lake: Lake, model: Model, judge: Judge, score: str, heard: list[Row]) -> AskModel:
    """Make a function that answers prompts from the ledger alone, and notes what it read."""

    def ask(prompts: Sequence[Prompt]) -> list[list[Answer]]:
        planned = plan(lake, model, prompts, judge.sampling)
        schemas = [prompt.json_schema for prompt in prompts]
        keys = [key for samples in planned.wanted for key, _ in samples]
        there = read_answers(lake, model, keys, judge.sampling, schemas)
        answered = [[there.get(sample) or _missing(*sample) for sample in samples] for samples in planned.wanted]
        for answers in answered:
            heard.extend(
                {
                    "score": score,
                    "judge": judge.name,
                    "completion_id": answer.completion_id or None,
                    "reply": answer.answer,
                    "reasoning": answer.reasoning,
                    "error": answer.error,
                }
                for answer in answers
                if answer.completion_id or not heard  # later attempts that were not needed were never made
            )
        return answered

    return ask


def _missing(key: str, index: int) -> Answer:
    return Answer(key, index, None, "", "unknown", _NEVER_ASKED, 0, 0)


def _with_costs(lake: Lake, replies: list[Row]) -> list[Row]:
    ids = [reply["completion_id"] for reply in replies if reply.get("completion_id")]
    if not ids:
        return replies
    rows = lake.scan(COMPLETIONS).filter(pl.col("completion_id").is_in(ids))
    costs = rows.select("completion_id", "cost", "currency", "created_at").collect()
    known = {row.pop("completion_id"): row for row in costs.iter_rows(named=True)}
    return [reply | known.get(reply.get("completion_id"), {}) for reply in replies]
