"""An engine that injects faults, and a pool that runs it."""

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable
from typing import Any

from openthoughts_dagster.generation.engine import Engine
from openthoughts_dagster.generation.model import Model
from openthoughts_dagster.generation.pool import EnginePool
from openthoughts_dagster.generation.requests import Completion, Request

Fault = Callable[[int, Request], Completion]


class FaultyEngine:
    """Answers as `fault` says: it gets the number of the request and may raise."""

    def __init__(self, fault: Fault) -> None:
        self._fault = fault

    async def generate(self, requests: AsyncIterable[Request]) -> AsyncIterator[Completion]:
        number = 0
        async for request in requests:
            yield self._fault(number, request)
            number += 1

    def describe(self) -> dict[str, Any]:
        return {"name": "faulty"}

    async def close(self) -> None:
        return None


class FaultyPool(EnginePool):
    """Runs everything on one faulty engine."""

    def __init__(self, fault: Fault) -> None:
        super().__init__()
        self._engine = FaultyEngine(fault)

    def run(
        self,
        model: Model,
        work: Callable[[Engine], Awaitable[Any]],
        log: Callable[[str], None],
        stop: Callable[[], None] | None = None,
    ) -> Any:
        async def run() -> Any:
            return await work(self._engine)

        return asyncio.run(run())


def says(text: str, reason: str = "stop") -> Fault:
    """Every request gets `text`."""
    return lambda _, request: Completion(request, text, reason, 3, 4, 0.1)
