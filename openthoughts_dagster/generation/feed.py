"""The stream of requests for an engine, which holds at most a page and knows the requests in flight."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

from openthoughts_dagster.generation.requests import Completion, Request


class Feed:
    """Streams the requests of `pages`; the next page is read when the engine has room for it.

    After an engine died, a new `stream` begins with the requests that were in flight and goes on from there.
    """

    def __init__(self, pages: Iterator[Sequence[Request]]) -> None:
        self._pages = pages
        self._reader = ThreadPoolExecutor(1, "pages")
        self._page: Future[Sequence[Request] | None] | None = None
        self._next: deque[Request] = deque()
        self._under_way: dict[tuple[str, int], Request] = {}
        self._stopped = False

    def stop(self) -> None:
        """Stop giving out requests. Safe to call from any thread."""
        self._stopped = True

    async def stream(self) -> AsyncIterator[Request]:
        """Yield the requests whose completion was not reported yet."""
        self._next.extendleft(reversed(self._under_way.values()))
        self._under_way.clear()
        while True:
            while self._next and not self._stopped:
                request = self._next.popleft()
                self._under_way[request.key, request.sample_index] = request
                yield request
            if self._stopped:
                return
            # Reading a page from a table may block, so it runs in a thread and not in the engine's event loop. The page
            # is kept until it is used: when an engine dies meanwhile, the next stream goes on with it.
            if self._page is None or self._page.cancelled():
                self._page = self._reader.submit(next, self._pages, None)
            page = await asyncio.wrap_future(self._page)
            self._page = None
            if page is None:
                return
            self._next.extend(page)

    def ended(self, completion: Completion) -> None:
        """Note that the writer has this completion, so that its request is not asked again."""
        self._under_way.pop((completion.request.key, completion.request.sample_index), None)
