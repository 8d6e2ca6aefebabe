"""Asking a server again: which failures are worth it, how long to wait, and when to give up."""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Mapping
from email.utils import parsedate_to_datetime
from enum import Enum
from typing import TypeVar

from openthoughts_dagster.recipe import Retry

T = TypeVar("T")


class Kind(Enum):
    """What a failed attempt says about the next one."""

    BROKEN = "this attempt failed; the next may not"
    BUSY = "the server asks everybody to wait"
    GONE = "nobody answers at the server's address"
    REFUSED = "the server will never answer this request"


class RequestFailed(Exception):
    """An attempt that failed.

    `wait` is for how many seconds the server asks everybody to stay away; `reason` and `permanent` are those of a
    completion that ends so; `retries` is how often the request had been tried before, once it is given up.
    """

    def __init__(
        self, problem: str, kind: Kind, wait: float | None = None, reason: str = "error", permanent: bool = False
    ) -> None:
        super().__init__(problem)
        self.kind = kind
        self.wait = wait
        self.reason = reason
        self.permanent = permanent
        self.retries = 0


class RetryPolicy:
    """Tries requests of one server until they are answered or it is of no use any more.

    Waits are drawn between zero and an exponentially growing limit ("full jitter": M. Brooker, "Exponential Backoff
    And Jitter", AWS, 2015). A Retry-After holds back every request of the server, not only the one that met it.
    """

    def __init__(self, retry: Retry) -> None:
        self._retry = retry
        self._resume_at = 0.0
        self._answered_at = time.monotonic()

    async def ask(self, attempt: Callable[[], Awaitable[T]]) -> tuple[T, int]:
        """The first answer of `attempt`, and how often it was repeated. Raises RequestFailed when it gives up."""
        retries, broken, unanswered_since, asked_to_wait = 0, 0, time.monotonic(), 0.0
        while True:
            await self._cool_down(retries)
            try:
                answer = await attempt()
            except RequestFailed as failure:
                now, failure.retries = time.monotonic(), retries
                asked_to_wait = max(asked_to_wait, failure.wait or 0.0)
                if failure.kind is Kind.REFUSED:
                    self._answered_at = now
                    raise
                if failure.kind is Kind.BROKEN:
                    broken += 1
                    if broken >= self._retry.attempts:
                        raise
                left = max(self._retry.patience, 2 * asked_to_wait) - (now - max(unanswered_since, self._answered_at))
                if (failure.kind is not Kind.BROKEN and left <= 0) or asked_to_wait > self._retry.request_seconds:
                    raise
                wait = self._backoff(retries)
                if failure.kind is Kind.BUSY:
                    self._resume_at = max(self._resume_at, now + (wait if failure.wait is None else failure.wait))
                else:
                    await asyncio.sleep(min(wait, left) if failure.kind is Kind.GONE else wait)
                retries += 1
            else:
                self._answered_at = time.monotonic()
                return answer, retries

    def _backoff(self, retries: int) -> float:
        return random.uniform(0, min(self._retry.longest_wait, self._retry.first_wait * 2.0 ** min(retries, 60)))

    async def _cool_down(self, retries: int) -> None:
        """Stay away as long as the server asked, and come back one by one: all at once would meet the same wall."""
        while (left := self._resume_at - time.monotonic()) > 0:
            await asyncio.sleep(left + self._backoff(retries))


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds that a reply's Retry-After asks for, given as seconds or as an HTTP date."""
    if milliseconds := headers.get("retry-after-ms"):  # Azure and OpenAI
        try:
            return max(0.0, float(milliseconds) / 1000)
        except ValueError:
            pass
    value = headers.get("retry-after", "").strip()
    if not value:
        return None
    try:
        return max(0.0, float(value))
    except ValueError:
        pass
    try:
        return max(0.0, parsedate_to_datetime(value).timestamp() - time.time())
    except ValueError:
        return None
