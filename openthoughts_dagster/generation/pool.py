"""The engines of a process: started when first asked, kept while they are of use, one of each kind at a time."""

import asyncio
import multiprocessing
import threading
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

from openthoughts_dagster.generation.engine import Engine, EngineError
from openthoughts_dagster.generation.engines import start_engine
from openthoughts_dagster.generation.model import Model

T = TypeVar("T")


class EnginePool:
    """Runs work on engines, in an event loop of its own.

    Starting an engine takes from seconds to minutes, so the last engine of each kind stays open for the next
    asset of the same model. Another model of the same kind closes it first: two engines do not share an
    accelerator. Safe to use from several threads; one work runs at a time.

    `grace` is how many seconds work that is interrupted may go on, so that what is nearly finished is not paid twice.
    """

    def __init__(self, grace: float = 0) -> None:
        self._grace = grace
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._engines: dict[str, tuple[Model, Engine]] = {}

    def run(
        self,
        model: Model,
        work: Callable[[Engine], Awaitable[T]],
        log: Callable[[str], None],
        stop: Callable[[], None] | None = None,
    ) -> T:
        """Run `work` with the engine of `model`. Raises EngineError when it cannot be started or breaks.

        An interrupt, such as a run that is canceled or a pod that is told to end, calls `stop`, which should make the
        work take on nothing new, waits for the pool's grace, cancels what is left, and is raised when it has ended.
        """
        with self._lock:
            try:
                return self._wait(self._run(model, work, log), stop)
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
        multiprocessing.active_children()  # reaps the processes of an engine that died, which nobody else waits for

    def _wait(self, work: Coroutine[Any, Any, T], stop: Callable[[], None] | None = None) -> T:
        if self._loop is None:
            self._loop = asyncio.new_event_loop()
            threading.Thread(target=self._loop.run_forever, name="engines", daemon=True).start()
        loop = self._loop

        async def started() -> asyncio.Task[T]:
            return asyncio.create_task(work)

        async def result() -> T:
            return await asyncio.shield(task)

        async def ended(grace: float) -> None:
            _, unfinished = await asyncio.wait([task], timeout=grace)
            if unfinished:
                task.cancel()  # a canceled run or Ctrl-C must not go on paying
                await asyncio.wait([task])

        task = asyncio.run_coroutine_threadsafe(started(), loop).result()
        try:
            return asyncio.run_coroutine_threadsafe(result(), loop).result()
        except BaseException:
            if not task.done():  # an interrupt, and no error of the work's own
                if stop is not None:
                    stop()
                # Whoever goes on with this work must find what it committed at its end.
                asyncio.run_coroutine_threadsafe(ended(self._grace if stop else 0), loop).result()
            raise
