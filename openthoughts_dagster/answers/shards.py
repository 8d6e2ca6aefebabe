"""Answers one shard of a plan: one engine generates its missing completions and commits them to the ledger."""

from collections.abc import Iterator
from datetime import datetime

import polars as pl

from openthoughts_dagster.answers.answer_set import AnswerSet
from openthoughts_dagster.answers.plan import wanted_samples
from openthoughts_dagster.generation.generate import Log, generate
from openthoughts_dagster.generation.ledger import find_missing_samples
from openthoughts_dagster.generation.ledger_writer import Purpose
from openthoughts_dagster.generation.model import Model
from openthoughts_dagster.generation.pool import EnginePool
from openthoughts_dagster.generation.rendering import render_all
from openthoughts_dagster.generation.requests import Request, messages_for
from openthoughts_dagster.generation.usage import Usage
from openthoughts_dagster.lake import Lake

_PAGE = 2_000  # questions whose texts and requests are in memory at the same time


def answer_shard(
    lake: Lake,
    pool: EnginePool,
    model: Model,
    answers: AnswerSet,
    shard: int,
    log: Log,
    retry_refused_before: datetime | None = None,
) -> Usage:
    """Generate the missing answers of a shard, the longest expected answers first.

    Completions that an earlier attempt of the shard committed are not asked again.

    Args:
        lake: The tables, with the plan.
        pool: The engines of this process.
        model: The model that answers, with its weights.
        answers: The answer set, which was planned.
        shard: Number of the shard, from 0.
        log: Takes lines of progress.
        retry_refused_before: The same value as in `plan_answers`.

    Returns:
        Completions, tokens, time and money of this attempt.

    Raises:
        EngineError: As in `generate`; committed completions are in the ledger.
    """
    rows = (
        answers.scan(lake, answers.plans)
        .filter(pl.col("shard") == shard)
        .sort("position")
        .select("source", "question_id", "key", "first_sample")
        .collect()
    )
    wanted = wanted_samples(rows["first_sample"], answers.samples)
    missing = find_missing_samples(lake, model, rows["key"], wanted, retry_refused_before=retry_refused_before)
    todo = rows.with_columns(missing=missing).filter(pl.col("missing").list.len() > 0)
    total = int(todo["missing"].list.len().sum())
    if not total:
        return Usage()
    log(f"{model.reference.name}: {total:,} completions to generate for {answers.label}, shard {shard}")
    purpose = Purpose(answers.asset, answers.label, model.reference.name)
    return generate(lake, pool, model, _read_pages(model, answers, todo), total, purpose, log)


def _read_pages(model: Model, answers: AnswerSet, todo: pl.DataFrame) -> Iterator[list[Request]]:
    """Yield the requests for the missing samples, page by page; only one page of texts is in memory."""
    texts, row = answers.questions.select("source", "question_id", "question"), ["source", "question_id"]
    for page in todo.iter_slices(_PAGE):
        found = texts.join(page.lazy(), on=row, how="inner").collect()
        rows = page.select(row).join(found, on=row, how="inner", maintain_order="left")
        questions = rows["question"].to_list()
        prompts = render_all(model, questions)
        yield [
            Request(key, index, prompt, model.reference.sampling, messages_for(model.reference, question))
            for key, indexes, prompt, question in zip(rows["key"], rows["missing"], prompts, questions, strict=True)
            for index in indexes
        ]
