"""Keeps many requests in flight and yields each completion when it ends."""

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable

from openthoughts_dagster.generation.requests import Completion, Request


async def fan_out(
    requests: AsyncIterable[Request], limit: int, complete: Callable[[Request], Awaitable[Completion]]
) -> AsyncIterator[Completion]:
    """Yield the completions of `requests` in the order in which they end.

    A new request is taken as soon as a completion was yielded; neither waits for a batch or for the other. When
    `complete` or the stream raises, the completions that have ended are yielded before the error. Closing the generator
    early cancels the requests in flight.

    Args:
        requests: The stream of requests.
        limit: The most requests that are in flight or wait to be yielded.
        complete: Answers one request.
    """
    ended: asyncio.Queue[asyncio.Task[Completion] | None] = asyncio.Queue()
    room = asyncio.Semaphore(limit)
    running: set[asyncio.Task[Completion]] = set()

    def end(task: asyncio.Task[Completion]) -> None:
        running.discard(task)
        ended.put_nowait(task)

    async def feed() -> None:
        await room.acquire()
        async for request in requests:
            task = asyncio.ensure_future(complete(request))
            running.add(task)
            task.add_done_callback(end)
            await room.acquire()

    feeder = asyncio.ensure_future(feed())
    feeder.add_done_callback(lambda _: ended.put_nowait(None))  # wake the loop below
    error: BaseException | None = None
    try:
        while error is None and not (feeder.done() and not running and ended.empty()):
            task = await ended.get()
            error = (task or feeder).exception()
            if task and error is None:
                room.release()
                yield task.result()
        while not ended.empty():
            if (task := ended.get_nowait()) and not task.cancelled() and task.exception() is None:
                yield task.result()
        if error is not None:
            raise error
    finally:
        for unfinished in (feeder, *running):
            unfinished.cancel()
        await asyncio.gather(feeder, *running, return_exceptions=True)
