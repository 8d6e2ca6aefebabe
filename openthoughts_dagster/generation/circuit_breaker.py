"""Stops a generation in which nothing works, before it has failed at every one of a million requests."""

import time
from collections.abc import Callable

from openthoughts_dagster.generation.engine import EngineError
from openthoughts_dagster.generation.requests import Completion

_FAILURES = 32
_SECONDS = 40.0
_PERMANENT_FAILURES = 1024


class CircuitBreaker:
    """Watches completions; after a success everything is forgotten.

    Trips after 32 failures in a row that asking again might have helped, or three of them over 40 seconds. Prompts
    that are too long say nothing about the engine, and the longest are asked first: it takes 1,024 permanent failures.
    """

    def __init__(self, name: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._name, self._clock = name, clock
        self._transient = self._permanent = 0
        self._since = 0.0

    def record(self, completion: Completion) -> None:
        """Raises EngineError, with the last reason, when nothing works."""
        if completion.error is None:
            self._transient = self._permanent = 0
            return
        if completion.permanent:
            self._permanent += 1
        else:
            self._transient += 1
            if self._transient == 1:
                self._since = self._clock()
        failing = self._clock() - self._since
        if (
            self._transient >= _FAILURES
            or (self._transient >= 3 and failing > _SECONDS)
            or self._permanent >= _PERMANENT_FAILURES
        ):
            raise EngineError(
                f"{self._name}: stopped, for the last {self._transient + self._permanent:,} requests all failed; the "
                f"last one: {completion.error}. Mend that and run it again: what was generated before is kept"
            )
