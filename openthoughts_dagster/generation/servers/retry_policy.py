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

_GATEWAY_ATTEMPTS = 3  # the server behind the gateway went on, and is paid for every attempt


class FailureKind(Enum):
    """What a failed attempt says about the next one."""

    ATTEMPT_FAILED = "this attempt failed; the next may not"
    GATEWAY_TIMEOUT = "a gateway did not wait for the answer, which is paid for all the same"
    RATE_LIMITED = "the server asks everybody to wait"
    UNAVAILABLE = "the server is starting, restarting or overloaded"
    UNREACHABLE = "nobody answers at the server's address"
    REJECTED = "the server will never answer this request"


class FatalServerError(Exception):
    """A server that will answer no request of this model: a wrong key, an unknown model, an empty account."""


class RequestFailed(Exception):
    """An attempt that failed.

    `wait` is for how many seconds the server asks everybody to stay away; `reason` and `permanent` are those of a
    completion that ends so; `retries` is how often the request had been tried before, once it is given up.
    """

    def __init__(
        self, problem: str, kind: FailureKind, wait: float | None = None, reason: str = "error", permanent: bool = False
    ) -> None:
        super().__init__(problem)
        self.problem = problem
        self.kind = kind
        self.wait = wait
        self.reason = reason
        self.permanent = permanent
        self.retries = 0

    def add_setting(self, setting: str) -> None:
        """Say in the message which setting of the recipe decided that the request is given up."""
        self.problem = f"{self.problem} ({setting})"

    def __str__(self) -> str:
        return self.problem


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
        retries, attempts, since, asked_to_wait = 0, 0, time.monotonic(), 0.0
        while True:
            await self._cool_down(retries)
            try:
                answer = await attempt()
            except RequestFailed as failure:
                now, failure.retries = time.monotonic(), retries
                asked_to_wait = max(asked_to_wait, failure.wait or 0.0)
                attempts += failure.kind in (FailureKind.ATTEMPT_FAILED, FailureKind.GATEWAY_TIMEOUT)
                if failure.kind is FailureKind.REJECTED:
                    self._answered_at = now
                    raise
                left = self._seconds_left(failure.kind, now, since, asked_to_wait)
                if setting := self._gives_up(failure.kind, attempts, left, asked_to_wait):
                    failure.add_setting(setting)
                    raise
                wait = self._backoff(retries)
                if failure.kind is FailureKind.RATE_LIMITED or failure.wait is not None:
                    self._resume_at = max(self._resume_at, now + (wait if failure.wait is None else failure.wait))
                else:
                    await asyncio.sleep(min(wait, max(0.0, left)))
                retries += 1
            else:
                self._answered_at = time.monotonic()
                return answer, retries

    def _seconds_left(self, kind: FailureKind, now: float, since: float, asked_to_wait: float) -> float:
        """For how long a request is still tried whose failure says nothing about itself.

        A server that asks everybody to wait, or that is gone, is judged by its last answer to anybody. One that is
        unavailable may be so for this request alone, so that its own time counts.
        """
        if kind in (FailureKind.ATTEMPT_FAILED, FailureKind.GATEWAY_TIMEOUT):
            return self._retry.longest_wait
        if kind is not FailureKind.UNAVAILABLE:
            since = max(since, self._answered_at)
        return max(self._retry.patience, 2 * asked_to_wait) - (now - since)

    def _gives_up(self, kind: FailureKind, attempts: int, left: float, asked_to_wait: float) -> str | None:
        """The setting by which a request is given up now, with its value; None while it is tried again."""
        retry = self._retry
        if asked_to_wait > retry.request_seconds:
            return f"it asks to wait {asked_to_wait:,.0f} s; retry.request_seconds is {retry.request_seconds:g}"
        if kind is FailureKind.GATEWAY_TIMEOUT and attempts >= min(_GATEWAY_ATTEMPTS, retry.attempts):
            return f"given up after {attempts} attempts, for each is paid for: set stream: always"
        if kind is FailureKind.ATTEMPT_FAILED and attempts >= retry.attempts:
            return f"given up after {attempts} attempts: retry.attempts"
        if kind not in (FailureKind.ATTEMPT_FAILED, FailureKind.GATEWAY_TIMEOUT) and left <= 0:
            return f"given up after {retry.patience:g} s: retry.patience"
        return None

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
