"""Ask a model for what is missing: plan against the ledger, generate, commit as completions finish."""

import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass

from openthoughts_dagster.generation.engine import Engine, EngineError
from openthoughts_dagster.generation.ledger import LedgerWriter, paid_samples, read_answers
from openthoughts_dagster.generation.model import Model
from openthoughts_dagster.generation.pool import EnginePool
from openthoughts_dagster.generation.requests import Answer, Ask, Completion, Prompt, Request
from openthoughts_dagster.lake import Lake
from openthoughts_dagster.recipe import Sampling

Log = Callable[[str], None]
_LOG_SECONDS = 10


@dataclass(frozen=True)
class Plan:
    """What was wanted, per prompt in order, and the requests among it that were not paid for yet."""

    model: Model
    wanted: list[list[Request]]
    missing: list[Request]

    @property
    def reused(self) -> int:
        """Samples that the ledger has already."""
        return len({(r.key, r.sample_index) for requests in self.wanted for r in requests}) - len(self.missing)


@dataclass
class Spent:
    """What a generation cost: completions generated, reused and failed, tokens, and seconds of wall time."""

    generated: int = 0
    reused: int = 0
    failed: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    seconds: float = 0.0

    def add(self, other: "Spent") -> None:
        """Count another generation in."""
        for name in self.__dataclass_fields__:
            setattr(self, name, getattr(self, name) + getattr(other, name))


def plan(lake: Lake, model: Model, prompts: Sequence[Prompt], sampling: Sampling) -> Plan:
    """Requests for every sample of every prompt, and which of them the ledger lacks. Starts no engine."""
    wanted = [model.requests(prompt, sampling) for prompt in prompts]
    requests = {(r.key, r.sample_index): r for group in wanted for r in group}
    paid = set(paid_samples(lake, model, [key for key, _ in requests]).iter_rows())
    return Plan(model, wanted, [request for sample, request in requests.items() if sample not in paid])


def generate(lake: Lake, pool: EnginePool, planned: Plan, log: Log) -> Spent:
    """Generate what `planned` misses and commit it as it finishes; what was committed stays, whatever happens.

    Raises EngineError when the engine cannot start or cannot go on, or when every request failed.
    """
    spent = Spent(reused=planned.reused)
    if not planned.missing:
        return spent
    name, total, start = planned.model.reference.name, len(planned.missing), time.monotonic()
    log(f"{name}: {total:,} completions to generate, {planned.reused:,} reused")
    last_error = ""

    async def work(engine: Engine) -> None:
        nonlocal last_error
        logged = time.monotonic()
        with LedgerWriter(lake, planned.model, engine.describe()) as ledger:
            async for completion in engine.generate(_stream(planned.missing)):
                ledger.add(completion)
                last_error = completion.error or last_error
                _count(spent, completion)
                done = spent.generated + spent.failed
                if time.monotonic() - logged > _LOG_SECONDS or done == total:
                    logged = time.monotonic()
                    rate = spent.completion_tokens / (logged - start)
                    log(f"{name}: {done:,} of {total:,} completions, {spent.failed:,} failed, {rate:,.0f} tokens/s")

    pool.run(planned.model, work, log)
    spent.seconds = time.monotonic() - start
    if spent.failed == total:
        raise EngineError(f"{name}: all {total:,} requests failed; the last error: {last_error}")
    return spent


def asker(lake: Lake, pool: EnginePool, model: Model, sampling: Sampling, spent: Spent, log: Log) -> Ask:
    """A function that asks `model` and returns the answers; what it costs is added to `spent`."""

    def ask(prompts: Sequence[Prompt]) -> list[list[Answer]]:
        planned = plan(lake, model, prompts, sampling)
        spent.add(generate(lake, pool, planned, log))
        answers = read_answers(lake, model, [r.key for group in planned.wanted for r in group])
        return [[answers[r.key, r.sample_index] for r in group] for group in planned.wanted]

    return ask


def _count(spent: Spent, completion: Completion) -> None:
    if completion.error is None:
        spent.generated += 1
    else:
        spent.failed += 1
    spent.prompt_tokens += completion.prompt_tokens
    spent.completion_tokens += completion.completion_tokens


async def _stream(requests: Sequence[Request]) -> AsyncIterator[Request]:
    for request in requests:
        yield request
