"""Asking an engine for completions, without a ledger."""

from collections.abc import AsyncIterator, Sequence

from openthoughts_dagster.generation.engine import Engine
from openthoughts_dagster.generation.model import Model
from openthoughts_dagster.generation.pool import EnginePool
from openthoughts_dagster.generation.requests import Completion, Prompt, Request
from openthoughts_dagster.recipe import Sampling


def complete(pool: EnginePool, model: Model, prompts: Sequence[Prompt], sampling: Sampling) -> list[Completion]:
    """The completions of every sample of the prompts, in the order of the requests."""
    requests = [request for prompt in prompts for request in model.requests(prompt, sampling)]

    async def work(engine: Engine) -> list[Completion]:
        return [completion async for completion in engine.generate(stream(requests))]

    completions = pool.run(model, work, print)
    assert len(completions) == len(requests)
    order = {id(request): number for number, request in enumerate(requests)}
    return sorted(completions, key=lambda completion: order[id(completion.request)])


async def stream(requests: Sequence[Request]) -> AsyncIterator[Request]:
    """The requests, one after the other."""
    for request in requests:
        yield request
