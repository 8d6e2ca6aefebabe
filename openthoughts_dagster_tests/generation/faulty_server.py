"""A real HTTP server that answers as a test says, and the openai engine asking it."""

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import Any

from aiohttp import web

from openthoughts_dagster.generation.engines.openai_engine import OpenaiEngine
from openthoughts_dagster.generation.engines.openai_start import start_openai
from openthoughts_dagster.generation.model import Model
from openthoughts_dagster.generation.requests import Completion, ModelIdentity, Prompt
from openthoughts_dagster.recipe import ModelReference, Retry, Sampling
from openthoughts_dagster_tests.generation.asking import requests_for, stream

# gets the number of the request, counted from 0, and what was asked
Script = Callable[[int, web.Request], Awaitable[web.StreamResponse]]

BRIEF = Retry(attempts=3, first_wait=0.01, longest_wait=0.05, patience=0.3, request_seconds=5)


def chat(content: Any = "4", finish_reason: str | None = "stop", **message: Any) -> web.Response:
    """A chat completion as servers write it."""
    choice = {
        "index": 0,
        "message": {"role": "assistant", "content": content, **message},
        "finish_reason": finish_reason,
    }
    usage = {"prompt_tokens": 3, "completion_tokens": 2, "prompt_tokens_details": {"cached_tokens": 1}}
    return web.json_response({"id": "1", "object": "chat.completion", "choices": [choice], "usage": usage})


def refusal(status: int, message: str = "no", headers: dict[str, str] | None = None, **error: Any) -> web.Response:
    """An error as servers write it."""
    body = {"error": {"message": message, "type": "server_error", **error}}
    return web.json_response(body, status=status, headers=headers)


def scripted(*replies: Callable[[web.Request], Awaitable[web.StreamResponse]] | web.Response) -> Script:
    """The replies one after the other, the last one again and again."""

    async def script(number: int, request: web.Request) -> web.StreamResponse:
        reply = replies[min(number, len(replies) - 1)]
        if not isinstance(reply, web.Response):
            return await reply(request)
        return web.Response(body=reply.body, status=reply.status, headers=reply.headers)

    return script


@asynccontextmanager
async def serving(
    script: Script, models: Sequence[dict[str, Any]] = (), models_status: int = 200, port: int = 0
) -> AsyncIterator[tuple[str, list[Any]]]:
    """The base URL of a server on a free loopback port or on `port`, and the bodies it was asked with so far."""
    asked: list[Any] = []

    async def complete(request: web.Request) -> web.StreamResponse:
        asked.append(json.loads(await request.read()))
        return await script(len(asked) - 1, request)

    async def listed(_: web.Request) -> web.Response:
        return web.json_response({"object": "list", "data": list(models)}, status=models_status)

    app = web.Application()
    app.add_routes(
        [
            web.post("/v1/chat/completions", complete),
            web.post("/v1/completions", complete),
            web.get("/v1/models", listed),
        ]
    )
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", port)
    await site.start()
    assert site._server is not None
    port = site._server.sockets[0].getsockname()[1]  # type: ignore[attr-defined]
    try:
        yield f"http://127.0.0.1:{port}/v1", asked
    finally:
        await runner.cleanup()


@contextmanager
def serving_in_thread(script: Script, **options: Any) -> Iterator[tuple[str, list[Any]]]:
    """The same server in a thread of its own, for code that waits for its replies."""
    loop, ready = asyncio.new_event_loop(), threading.Event()
    stop, started = asyncio.Event(), list[tuple[str, list[Any]]]()

    async def serve() -> None:
        async with serving(script, **options) as server:
            started.append(server)
            ready.set()
            await stop.wait()

    thread = threading.Thread(target=loop.run_until_complete, args=(serve(),))
    thread.start()
    try:
        assert ready.wait(30)
        yield started[0]
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join()
        loop.close()


def served_model(url: str, retry: Retry = BRIEF, **settings: Any) -> Model:
    """The model of a server, as the recipe names it."""
    reference = ModelReference(name="api", model="m", engine="openai", base_url=url, retry=retry, **settings)
    return Model(reference, "m", ModelIdentity("m", "served"))


async def completions_of(
    engine: OpenaiEngine, model: Model, prompts: Sequence[Prompt], sampling: Sampling
) -> list[Completion]:
    """Completions in the order they end."""
    requests = requests_for(model, prompts, sampling)
    return [completion async for completion in engine.generate(stream(requests))]


def ask(
    script: Script,
    prompts: Sequence[Prompt] = (Prompt("2 + 2?"),),
    retry: Retry = BRIEF,
    sampling: Sampling = Sampling(max_tokens=50),  # noqa: B008, frozen
    models: Sequence[dict[str, Any]] = (),
    models_status: int = 200,
    **settings: Any,
) -> tuple[list[Completion], list[Any]]:
    """The completions of `prompts` by a server that answers as `script` says, and what the server was asked."""

    async def run() -> tuple[list[Completion], list[Any]]:
        async with serving(script, models, models_status) as (url, asked):
            model = served_model(url, retry, **settings)
            engine = await start_openai(model)
            try:
                return await completions_of(engine, model, prompts, sampling), asked
            finally:
                await engine.close()

    return asyncio.run(run())
