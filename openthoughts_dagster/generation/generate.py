"""Asks a model for missing completions: plan against the ledger, generate, and commit as completions finish."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from typing import Any

import polars as pl

from openthoughts_dagster.generation.batch_journal import BatchJournal, UsesBatches
from openthoughts_dagster.generation.circuit_breaker import CircuitBreaker
from openthoughts_dagster.generation.engine import Engine, EngineDied, EngineError
from openthoughts_dagster.generation.estimate import CostEstimate, estimate, measure_rates
from openthoughts_dagster.generation.feed import Feed
from openthoughts_dagster.generation.ledger import continue_pages, find_missing_samples, read_answers
from openthoughts_dagster.generation.ledger_writer import LedgerWriter, Purpose
from openthoughts_dagster.generation.model import Model
from openthoughts_dagster.generation.pool import EnginePool
from openthoughts_dagster.generation.prices import cost_of
from openthoughts_dagster.generation.rendering import render_all
from openthoughts_dagster.generation.requests import (
    Answer,
    AskModel,
    Prompt,
    Request,
    completion_keys,
    messages_for,
)
from openthoughts_dagster.generation.usage import Usage
from openthoughts_dagster.lake import Lake
from openthoughts_dagster.recipe import Sampling

Log = Callable[[str], None]
_LOG_SECONDS = 10
_DEATHS = 3


@dataclass(frozen=True)
class Plan:
    """The wanted samples, and requests for those that the ledger lacks.

    Args:
        model: The model that answers.
        wanted: For each prompt, in order, its samples as pairs of key and sample index.
        missing: Requests for the samples that the ledger lacks.
    """

    model: Model
    wanted: list[list[tuple[str, int]]]
    missing: list[Request]

    @property
    def reused(self) -> int:
        """The number of samples that the ledger has already."""
        return len({sample for samples in self.wanted for sample in samples}) - len(self.missing)


def plan(
    lake: Lake,
    model: Model,
    prompts: Sequence[Prompt],
    sampling: Sampling,
    retry_refused_before: datetime | None = None,
) -> Plan:
    """Key every sample of every prompt, and compare with the ledger. Starts no engine.

    Args:
        lake: The tables.
        model: The model that answers; its weights are not needed.
        prompts: The prompts, each with its number of samples.
        sampling: How the model samples.
        retry_refused_before: Permanent failures from before this moment are asked again; by default none are.
    """
    keys, rendered = [""] * len(prompts), [""] * len(prompts)
    by_schema = sorted(range(len(prompts)), key=lambda i: id(prompts[i].json_schema))
    for _, group in groupby(by_schema, key=lambda i: id(prompts[i].json_schema)):
        members = list(group)
        texts = render_all(model, [prompts[i].user for i in members])
        schema = prompts[members[0]].json_schema
        for i, text, key in zip(members, texts, completion_keys(model.identity, texts, sampling, schema), strict=True):
            keys[i], rendered[i] = key, text
    indexes = [range(p.first_sample, p.first_sample + p.samples) for p in prompts]
    schemas = _distinct_schemas(prompts)
    key_series, samples = pl.Series(keys, dtype=pl.String), pl.Series([list(r) for r in indexes])
    missing = find_missing_samples(lake, model, key_series, samples, sampling, schemas, retry_refused_before)
    requests = {
        (key, index): Request(key, index, text, sampling, messages_for(model.reference, p.user), p.json_schema)
        for key, text, p, lacking in zip(keys, rendered, prompts, missing, strict=True)
        for index in lacking
    }
    wanted = [[(key, index) for index in samples] for key, samples in zip(keys, indexes, strict=True)]
    return Plan(model, wanted, list(requests.values()))


def generate(
    lake: Lake,
    pool: EnginePool,
    model: Model,
    pages: Iterator[Sequence[Request]],
    total: int,
    purpose: Purpose,
    log: Log,
) -> Usage:
    """Generate the completions of all requests and commit them to the ledger as they finish.

    After an interrupt the requests in flight may finish while the pool's grace lasts. An engine that dies is started
    again with the requests that were in flight.

    Args:
        lake: The tables; completions go to the ledger.
        pool: The engines of this process.
        model: The model that answers, with its weights.
        pages: The requests, page by page; only a page of them is in memory.
        total: The number of requests in all pages.
        purpose: The asset and the source that the ledger records.
        log: Takes lines of progress.

    Returns:
        Completions, tokens, time and money.

    Raises:
        EngineError: The engine cannot start, died three times without completing a request, or failed too often in a
            row, or every request failed for a reason that is not permanent. Committed completions stay in the ledger.
    """
    usage, feed, breaker = Usage(), Feed(continue_pages(lake, model, pages)), CircuitBreaker(model.reference.name)
    start = time.monotonic()
    name, last_error, transient, deaths, ended = model.reference.name, "", 0, 0, -1

    async def work(engine: Engine) -> None:
        nonlocal last_error, transient
        logged = began = time.monotonic()
        in_batches = isinstance(engine, UsesBatches)
        if isinstance(engine, UsesBatches):
            engine.use_journal(BatchJournal(lake, model, purpose.asset, purpose.source, log))
        try:
            with LedgerWriter(lake, model, engine.describe(), purpose) as ledger:
                async for completion in engine.generate(feed.stream()):
                    ledger.add(completion)
                    feed.ended(completion)
                    usage.count(completion)
                    last_error = completion.error or last_error
                    transient += completion.error is not None and not completion.permanent
                    if not in_batches:  # a batch has ended as a whole, and its failed requests are not paid for
                        breaker.record(completion)
                    done = usage.generated + usage.failed
                    if time.monotonic() - logged > _LOG_SECONDS or done == total:
                        logged = time.monotonic()
                        log(f"{name}: {_describe_progress(usage, done, total, logged - start)}")
                    await ledger.wait_for_space()
        finally:
            usage.engine_seconds += time.monotonic() - began

    while True:
        try:
            pool.run(model, work, log, feed.stop)
            break
        except EngineDied as error:
            done = usage.generated + usage.failed
            deaths, ended = (1, done) if done > ended else (deaths + 1, ended)
            if deaths >= _DEATHS:
                raise EngineError(f"{error}. It died {deaths} times without finishing a request") from error
            log(f"{name}: {error}; starting it again, {done:,} completions are kept")
    spent = cost_of(model.reference, usage.prompt_tokens, usage.completion_tokens, usage.engine_seconds)
    usage.costs[model.reference.price.currency] = spent  # type: ignore[assignment]  # a Counter of floats
    if total and transient == total:
        raise EngineError(f"{name}: all {total:,} requests failed; the last error: {last_error}")
    return usage


class TooManyMissing(EngineError):
    """More completions are missing than may be generated.

    Args:
        missing: How many are missing.
        expected: What they would cost.
    """

    def __init__(self, name: str, missing: int, most: int, expected: CostEstimate) -> None:
        super().__init__(f"{name}: {missing:,} completions are missing, {most:,} may be generated: {expected.says()}")
        self.missing = missing
        self.expected = expected


def ledger_client(
    lake: Lake,
    pool: EnginePool,
    model: Model,
    sampling: Sampling,
    usage: Usage,
    purpose: Purpose,
    log: Log,
    most: int | None = None,
    retry_refused_before: datetime | None = None,
) -> AskModel:
    """Make a function that asks a model, through the ledger: samples that are there are read and not asked again.

    Args:
        lake: The tables.
        pool: The engines of this process.
        model: The model that answers, with its weights.
        sampling: How the model samples.
        usage: The function adds the completions, tokens and money of each call to it.
        purpose: The asset and the source that the ledger records.
        log: Takes lines of progress.
        most: The most completions that one call may generate; None for no limit.
        retry_refused_before: The same as in `plan`.

    Returns:
        A function from prompts to the answers of each prompt, in order. It raises EngineError as `generate` does, and
        TooManyMissing before anything is asked.

    Example:
        >>> usage, purpose = Usage(), Purpose("notebook", "gsm8k")
        >>> ask = ledger_client(lake, EnginePool(), model, Sampling(), usage, purpose, print)
        >>> [[answer]] = ask([Prompt("What is 2 + 2?")])
    """

    def ask(prompts: Sequence[Prompt]) -> list[list[Answer]]:
        planned = plan(lake, model, prompts, sampling, retry_refused_before)
        usage.add(Usage(reused=planned.reused))
        if planned.missing:
            total = len(planned.missing)
            if most is not None and total > most:
                known = measure_rates(lake, model, sampling, purpose.source)
                tokens, letters = known.completion_tokens * total, sum(len(one.prompt) for one in planned.missing)
                expected = estimate(model, known, total, planned.reused, tokens, letters)
                raise TooManyMissing(model.reference.name, total, most, expected)
            log(f"{model.reference.name}: {total:,} completions to generate, {planned.reused:,} reused")
            usage.add(generate(lake, pool, model, iter([planned.missing]), total, purpose, log))
        keys = [key for samples in planned.wanted for key, _ in samples]
        answers = read_answers(lake, model, keys, sampling, _distinct_schemas(prompts))
        return [[answers[sample] for sample in samples] for samples in planned.wanted]

    return ask


def _distinct_schemas(prompts: Sequence[Prompt]) -> list[dict[str, Any] | None]:
    """Return the different JSON schemas of prompts; a million prompts share the same few objects."""
    return list({id(prompt.json_schema): prompt.json_schema for prompt in prompts}.values())


def _describe_progress(usage: Usage, done: int, total: int, seconds: float) -> str:
    left = seconds / done * (total - done)
    return (
        f"{done:,} of {total:,} completions, {usage.failed:,} failed, "
        f"{usage.completion_tokens / seconds:,.0f} tokens/s"
        + (f", about {_format_duration(left)} left" if done < total else "")
    )


def _format_duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
