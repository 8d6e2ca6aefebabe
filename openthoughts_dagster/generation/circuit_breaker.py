"""Stops a generation in which every request fails, before a million requests have failed."""

import time
from collections.abc import Callable

from openthoughts_dagster.generation.engine import EngineError
from openthoughts_dagster.generation.requests import Completion

_FAILURES = 32
_SECONDS = 40.0
_PERMANENT_FAILURES = 1024


class CircuitBreaker:
    """Counts failures in a row; a success resets the counts.

    The breaker trips after 32 transient failures in a row, or after three over more than 40 seconds. Permanent
    failures, such as prompts that are too long, say little about the engine, and the longest prompts are asked first;
    it therefore takes 1,024 of them.
    """

    def __init__(self, name: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._name, self._clock = name, clock
        self._transient = self._permanent = 0
        self._since = 0.0

    def record(self, completion: Completion) -> None:
        """Count a completion. Raises EngineError with the last failure's reason when the breaker trips."""
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
                f"{self._name}: stopped, because the last {self._transient + self._permanent:,} requests all failed. "
                f"The last error: {completion.error}. Correct this and run it again: generated completions are kept"
            )
