"""The retry policy of a server: which failures are retried, how long to wait, and when to give up."""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Mapping
from email.utils import parsedate_to_datetime
from enum import Enum
from typing import TypeVar

from openthoughts_dagster.recipe import Retry

T = TypeVar("T")

_PAID_ATTEMPTS = 3  # the server goes on when nobody waits any more, so that every attempt is paid for


class FailureKind(Enum):
    """What a failed attempt says about the next one."""

    ATTEMPT_FAILED = "this attempt failed; the next may not"
    TIMED_OUT = "the answer did not come in time, and is paid for all the same"
    RATE_LIMITED = "the server asks everybody to wait"
    UNAVAILABLE = "the server is starting, restarting or overloaded"
    UNREACHABLE = "nobody answers at the server's address"
    REJECTED = "the server will never answer this request"


class FatalServerError(Exception):
    """The server will answer no request of this model: the key is wrong, the model unknown, or the account empty."""


class RequestFailed(Exception):
    """An attempt that failed.

    Args:
        problem: What failed, for people.
        kind: What the failure says about another attempt.
        wait: Seconds for which the server asks all clients to wait; None if it does not ask.
        reason: The `finish_reason` of a completion that ends with this failure.
        permanent: Whether asking again cannot help.
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
        """Name in the message the setting of the recipe by which the request was given up."""
        self.problem = f"{self.problem} ({setting})"

    def __str__(self) -> str:
        return self.problem


class RetryPolicy:
    """Retries requests of one server until they are answered or have to be given up.

    Waits are drawn between zero and an exponentially growing limit ("full jitter": M. Brooker, "Exponential Backoff
    And Jitter", AWS, 2015). A Retry-After delays all requests of the server, not only the one that got it.
    """

    def __init__(self, retry: Retry) -> None:
        self._retry = retry
        self._resume_at = 0.0
        self._answered_at = time.monotonic()

    async def ask(self, attempt: Callable[[], Awaitable[T]]) -> tuple[T, int]:
        """Return the first answer of `attempt` and the number of retries. Raises RequestFailed when it gives up."""
        retries, attempts, since, asked_to_wait = 0, 0, time.monotonic(), 0.0
        while True:
            await self._cool_down(retries)
            try:
                answer = await attempt()
            except RequestFailed as failure:
                now, failure.retries = time.monotonic(), retries
                asked_to_wait = max(asked_to_wait, failure.wait or 0.0)
                attempts += failure.kind in (FailureKind.ATTEMPT_FAILED, FailureKind.TIMED_OUT)
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
        """Return for how many seconds a request is still retried if its failure concerns the server.

        If the server asks all clients to wait, or cannot be reached, the time counts from its last answer to any
        request. A server may be unavailable for one request alone, so then the time counts from this request's start.
        """
        if kind in (FailureKind.ATTEMPT_FAILED, FailureKind.TIMED_OUT):
            return self._retry.longest_wait
        if kind is not FailureKind.UNAVAILABLE:
            since = max(since, self._answered_at)
        return max(self._retry.patience, 2 * asked_to_wait) - (now - since)

    def _gives_up(self, kind: FailureKind, attempts: int, left: float, asked_to_wait: float) -> str | None:
        """Return the setting by which a request is given up now, with its value; None if it is retried."""
        retry = self._retry
        if asked_to_wait > retry.request_seconds:
            return f"it asks to wait {asked_to_wait:,.0f} s; retry.request_seconds is {retry.request_seconds:g}"
        if kind is FailureKind.TIMED_OUT and attempts >= min(_PAID_ATTEMPTS, retry.attempts):
            return f"given up after {attempts} attempts, for each is paid for"
        if kind is FailureKind.ATTEMPT_FAILED and attempts >= retry.attempts:
            return f"given up after {attempts} attempts: retry.attempts"
        if kind not in (FailureKind.ATTEMPT_FAILED, FailureKind.TIMED_OUT) and left <= 0:
            return f"given up after {retry.patience:g} s: retry.patience"
        return None

    def _backoff(self, retries: int) -> float:
        return random.uniform(0, min(self._retry.longest_wait, self._retry.first_wait * 2.0 ** min(retries, 60)))

    async def _cool_down(self, retries: int) -> None:
        """Wait as long as the server asked plus a random time, so that requests do not all return at once."""
        while (left := self._resume_at - time.monotonic()) > 0:
            await asyncio.sleep(left + self._backoff(retries))


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Return the seconds that a reply's Retry-After asks for; it is given in seconds or as an HTTP date.

    A date counts from the reply's own date, because the clocks of server and client may differ.
    """
    if milliseconds := headers.get("retry-after-ms"):  # Azure and OpenAI send this header
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
    until, sent = _timestamp(value), _timestamp(headers.get("date", ""))
    return None if until is None else max(0.0, until - (time.time() if sent is None else sent))


def _timestamp(date: str) -> float | None:
    try:
        return parsedate_to_datetime(date).timestamp()
    except (ValueError, TypeError, OverflowError):
        return None
