"""What an engine is fed with: a stream that never holds more than a page, and knows what is under way."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Iterator, Sequence

from openthoughts_dagster.generation.requests import Completion, Request


class Feed:
    """Requests from `pages`, taken one page after the other as the engine has room.

    After an engine died, `stream` starts again with what it had under way and goes on where it stopped.
    """

    def __init__(self, pages: Iterator[Sequence[Request]]) -> None:
        self._pages = pages
        self._next: deque[Request] = deque()
        self._under_way: dict[tuple[str, int], Request] = {}
        self._stopped = False

    def stop(self) -> None:
        """Give out no more requests: what is under way is the last. Safe from any thread."""
        self._stopped = True

    async def stream(self) -> AsyncIterator[Request]:
        """The requests that no completion was reported for yet."""
        self._next.extendleft(reversed(self._under_way.values()))
        self._under_way.clear()
        while True:
            while self._next and not self._stopped:
                request = self._next.popleft()
                self._under_way[request.key, request.sample_index] = request
                yield request
            if self._stopped:
                return
            # A page may be read from a table: not in the loop that the engine's requests run in.
            page = await asyncio.to_thread(next, self._pages, None)
            if page is None:
                return
            self._next.extend(page)

    def ended(self, completion: Completion) -> None:
        """A completion of this request was committed to the writer: it will not be asked again."""
        self._under_way.pop((completion.request.key, completion.request.sample_index), None)
