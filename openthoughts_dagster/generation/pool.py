"""The engines of a process: started when first asked, kept while they are of use, one of each kind at a time."""

import asyncio
import threading
from collections.abc import Awaitable, Callable
from typing import TypeVar

from openthoughts_dagster.generation.engine import Engine, EngineError
from openthoughts_dagster.generation.engines import start_engine
from openthoughts_dagster.generation.model import Model

T = TypeVar("T")


class EnginePool:
    """Runs work on engines, in an event loop of its own.

    Starting an engine takes from seconds to minutes, so the last engine of each kind stays open for the next
    asset of the same model. Another model of the same kind closes it first: two engines do not share an
    accelerator. Safe to use from several threads; one work runs at a time.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._engines: dict[str, tuple[Model, Engine]] = {}

    def run(self, model: Model, work: Callable[[Engine], Awaitable[T]], log: Callable[[str], None]) -> T:
        """Run `work` with the engine of `model`. Raises EngineError when it cannot be started or breaks."""
        with self._lock:
            try:
                return self._wait(self._run(model, work, log))
            except EngineError:
                self._wait(self._close(None))  # a broken engine answers nobody else
                raise

    def make_room(self) -> None:
        """Close the engines that hold accelerators, for work that needs them, such as training."""
        with self._lock:
            for kind in [k for k, (model, _) in self._engines.items() if model.reference.hardware.count]:
                self._wait(self._close(kind))

    def close(self) -> None:
        """Close all engines; the pool can be used again."""
        with self._lock:
            if self._loop is not None:
                self._wait(self._close(None))
                self._loop.call_soon_threadsafe(self._loop.stop)
                self._loop = None

    async def _run(self, model: Model, work: Callable[[Engine], Awaitable[T]], log: Callable[[str], None]) -> T:
        kind, start = start_engine(model)
        held = self._engines.get(kind)
        if held is None or held[0] != model:
            await self._close(kind)
            log(f"{model.reference.name}: starting the {kind} engine for {model.address}")
            self._engines[kind] = (model, await start())
        return await work(self._engines[kind][1])

    async def _close(self, kind: str | None) -> None:
        for name in [name for name in self._engines if kind in (None, name)]:
            await self._engines.pop(name)[1].close()

    def _wait(self, work: Awaitable[T]) -> T:
        if self._loop is None:
            self._loop = asyncio.new_event_loop()
            threading.Thread(target=self._loop.run_forever, name="engines", daemon=True).start()

        async def run() -> T:
            return await work

        future = asyncio.run_coroutine_threadsafe(run(), self._loop)
        try:
            return future.result()
        except BaseException:
            future.cancel()  # a canceled run or Ctrl-C must not go on paying
            raise
