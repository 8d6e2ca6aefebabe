"""The engines of a process: each is started on first use and kept, one of each kind at a time."""

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
    """Runs work on engines, in an event loop of its own. Safe to use from several threads; one work runs at a time.

    Starting an engine takes from seconds to minutes, so the last engine of each kind stays open for the next asset of
    the same model. An engine of another model of the same kind replaces it, because two engines do not share an
    accelerator.

    Args:
        grace: Seconds for which interrupted work may go on, so that nearly finished completions are not paid for twice.

    Example:
        >>> pool = EnginePool()
        >>> ask = ledger_client(lake, pool, model, Sampling(), Usage(), Purpose("notebook", "gsm8k"), print)
        >>> pool.close()
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
        """Run work with the engine of a model, and wait for its result.

        An interrupt, such as a canceled run or a terminated pod, calls `stop`, waits for the pool's grace, cancels the
        work that is left, and is raised when the work has ended.

        Args:
            model: The model whose engine is used, and started if it is not open.
            work: An asynchronous function of the engine.
            log: Takes a line when an engine is started.
            stop: Makes the work take on nothing new. Without it an interrupt cancels the work at once.

        Returns:
            What `work` returns.

        Raises:
            EngineError: The engine cannot be started, or it broke; all engines of the pool are closed then.
        """
        with self._lock:
            try:
                return self._wait(self._run(model, work, log), stop)
            except EngineError:
                self._wait(self._close(None))  # do not use a broken engine again
                raise

    def make_room(self) -> None:
        """Close the engines that hold accelerators, so that other work such as training can use them."""
        with self._lock:
            for kind in [k for k, (model, _) in self._engines.items() if model.reference.hardware.count]:
                self._wait(self._close(kind))

    def close(self) -> None:
        """Close all engines. The pool can be used again."""
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
            if not task.done():  # this is an interrupt and not an error of the work
                if stop is not None:
                    stop()
                # Wait, so that whoever continues this work finds everything that it committed.
                asyncio.run_coroutine_threadsafe(ended(self._grace if stop else 0), loop).result()
            raise
