"""Asking an engine for completions, without a ledger."""

from collections.abc import AsyncIterator, Sequence

from openthoughts_dagster.generation.engine import Engine
from openthoughts_dagster.generation.model import Model
from openthoughts_dagster.generation.pool import EnginePool
from openthoughts_dagster.generation.rendering import render_all
from openthoughts_dagster.generation.requests import Completion, Prompt, Request, completion_keys, messages_for
from openthoughts_dagster.recipe import Sampling


def complete(pool: EnginePool, model: Model, prompts: Sequence[Prompt], sampling: Sampling) -> list[Completion]:
    """The completions of every sample of the prompts, in the order of the requests."""
    requests = requests_for(model, prompts, sampling)

    async def work(engine: Engine) -> list[Completion]:
        return [completion async for completion in engine.generate(stream(requests))]

    completions = pool.run(model, work, print)
    assert len(completions) == len(requests)
    order = {id(request): number for number, request in enumerate(requests)}
    return sorted(completions, key=lambda completion: order[id(completion.request)])


def requests_for(model: Model, prompts: Sequence[Prompt], sampling: Sampling) -> list[Request]:
    """A request for every sample of the prompts, also of those that are the same."""
    requests = []
    for prompt in prompts:
        [text] = render_all(model, [prompt.user])
        [key] = completion_keys(model.identity, [text], sampling, prompt.json_schema)
        messages = messages_for(model.reference, prompt.user)
        indexes = range(prompt.first_sample, prompt.first_sample + prompt.samples)
        requests += [Request(key, index, text, sampling, messages, prompt.json_schema) for index in indexes]
    return requests


async def stream(requests: Sequence[Request]) -> AsyncIterator[Request]:
    """The requests, one after the other."""
    for request in requests:
        yield request
