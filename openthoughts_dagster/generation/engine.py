"""The engine protocol: requests in, an asynchronous stream of completions out."""

from collections.abc import AsyncIterable, AsyncIterator
from typing import Any, Protocol

from openthoughts_dagster.generation.requests import Completion, Request


class EngineError(RuntimeError):
    """An engine cannot be started or used; the message names the model and says what to do."""


class EngineDied(EngineError):
    """The engine's process or server is gone. A new engine can go on with the requests in flight."""


class Engine(Protocol):
    """Answers requests with one model.

    An engine takes a request from the stream when it has room for it, and yields each completion as soon as it has
    ended, in any order, so that a long completion does not delay the others. A failed request yields a completion with
    an `error`.
    """

    def generate(self, requests: AsyncIterable[Request]) -> AsyncIterator[Completion]:
        """Yield one completion for each request, as soon as it has ended.

        Args:
            requests: The stream of requests. The engine takes only as many as it has room for.

        Raises:
            EngineError: The engine cannot go on; the completions that had ended were yielded before. It is EngineDied
                when a new start may help.
        """
        ...

    def describe(self) -> dict[str, Any]:
        """Return what the ledger records with every completion: engine name and version, dtype, parallelism."""
        ...

    async def close(self) -> None:
        """Release the engine's memory and processes. Closing twice is allowed."""
        ...
