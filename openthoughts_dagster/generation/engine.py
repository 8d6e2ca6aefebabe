"""The engine protocol: requests in, an asynchronous stream of completions out."""

from collections.abc import AsyncIterable, AsyncIterator
from typing import Any, Protocol

from openthoughts_dagster.generation.requests import Completion, Request


class EngineError(RuntimeError):
    """An engine that cannot be started or used: says which model, and what to do."""


class EngineDied(EngineError):
    """An engine whose process or server is gone: started anew, it can go on with what was in flight."""


class Engine(Protocol):
    """Answers requests with one model.

    An engine takes requests from the stream as long as it has room for them and yields each completion when it
    ends, in any order: a long completion holds back no other. A request that fails yields a completion with an
    `error`; only an engine that cannot go on raises EngineError, after it handed on what had ended: EngineDied when
    starting it anew may help.
    """

    def generate(self, requests: AsyncIterable[Request]) -> AsyncIterator[Completion]:
        """Completions of `requests`, each as soon as it ends."""
        ...

    def describe(self) -> dict[str, Any]:
        """What is recorded with every completion: engine name and version, dtype, parallelism."""
        ...

    async def close(self) -> None:
        """Give back the engine's memory and processes. Closing twice is fine."""
        ...
