"""Many requests in flight at once, each completion handed on when it ends."""

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable

from openthoughts_dagster.generation.requests import Completion, Request


async def fan_out(
    requests: AsyncIterable[Request], limit: int, complete: Callable[[Request], Awaitable[Completion]]
) -> AsyncIterator[Completion]:
    """Completions of `requests`, in the order they end, with at most `limit` in flight.

    A new request is taken as soon as one ends: nothing waits for a batch. Leaving early cancels what is in flight.
    """
    source = aiter(requests)
    running: set[asyncio.Task[Completion]] = set()
    done: set[asyncio.Task[Completion]] = set()
    more = True
    try:
        while more or running:
            while more and len(running) < limit:
                try:
                    running.add(asyncio.ensure_future(complete(await anext(source))))
                except StopAsyncIteration:
                    more = False
            if running:
                done, running = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
                while done:
                    yield done.pop().result()
    finally:
        for task in running:
            task.cancel()
        await asyncio.gather(*running, *done, return_exceptions=True)
