"""Writes the ledger of completions: commits run in the background while other completions are generated."""

import asyncio
import json
import threading
import time
from dataclasses import dataclass
from types import TracebackType
from typing import Any
from uuid import uuid4

import polars as pl

from openthoughts_dagster.generation.engine import EngineDied
from openthoughts_dagster.generation.model import Model
from openthoughts_dagster.generation.prices import cost_of
from openthoughts_dagster.generation.reasoning import split_reasoning
from openthoughts_dagster.generation.requests import FINISHED, Completion
from openthoughts_dagster.lake import COMPLETIONS, Lake, LakeError, text_hash
from openthoughts_dagster.lake.unicode import replace_lone_surrogates

_COMMIT_ATTEMPTS = 3
_LAST_COMMIT_PAUSE = 5.0  # seconds between attempts at the last commit


@dataclass(frozen=True)
class Purpose:
    """The partition for which completions are generated: its asset, and its source and teacher where it has them."""

    asset: str = ""
    source: str = ""
    teacher: str = ""


class LedgerWriter:
    """Commits completions as often as the model's commit budget says, and the rest at the end; a context manager.

    A crash loses at most the completions since the last commit. Commits run in a thread, so that the engine does not
    wait for the disk. If the disk is slower than the engine for long, `wait_for_space` delays the engine, so that
    memory is bounded by twice the budget.
    """

    def __init__(self, lake: Lake, model: Model, engine: dict[str, Any], purpose: Purpose) -> None:
        self._lake, self._model, self._purpose = lake, model, purpose
        self._engine = engine
        budget = model.reference.commit
        self._seconds, self._bytes = budget.seconds, int(budget.megabytes * 2**20)
        self._completions: list[Completion] = []
        self._size = 0
        self._wake = threading.Condition()
        self._closing = False
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="ledger", daemon=True)
        self._since = time.monotonic()

    def __enter__(self) -> "LedgerWriter":
        self._since = time.monotonic()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._wake:
            self._closing = True
            self._wake.notify()
        self._thread.join()
        if self._error is not None:
            if error is None or isinstance(error, EngineDied):  # a new engine would go on without what was lost
                raise self._error
            error.add_note(f"and what was generated last could not be committed: {self._error}")

    def add(self, completion: Completion) -> None:
        """Add a completion to the next commit. Raises LakeError if an earlier commit failed."""
        with self._wake:
            if self._error is not None:
                raise self._error
            self._completions.append(completion)
            self._size += len(completion.text) + len(completion.request.prompt)
            if self._size >= self._bytes:
                self._wake.notify()

    async def wait_for_space(self) -> None:
        """Wait while the text of more than two commits is in memory, because the disk is slow."""
        while self._size >= 2 * self._bytes and self._error is None:
            await asyncio.sleep(0.05)

    def _run(self) -> None:
        waiting: list[pl.DataFrame] = []  # rows of a commit that failed, for the next commit
        failed = 0
        while True:
            with self._wake:
                deadline = time.monotonic() + self._seconds
                while not self._closing and self._size < self._bytes and (left := deadline - time.monotonic()) > 0:
                    self._wake.wait(left)
                completions, self._completions, self._size = self._completions, [], 0
                closing = self._closing
            try:
                if completions:
                    waiting.append(self._rows(completions))
                if waiting:
                    self._lake.append(COMPLETIONS, pl.concat(waiting))
                waiting, failed = [], 0
                if closing:
                    return None
            except LakeError as error:
                failed += 1
                if failed >= _COMMIT_ATTEMPTS:
                    return self._stop(error)
                if closing:  # nothing comes after this commit, and its rows are paid for
                    time.sleep(min(self._seconds, _LAST_COMMIT_PAUSE))
            except BaseException as error:
                return self._stop(error)

    def _stop(self, error: BaseException) -> None:
        with self._wake:
            self._error = error

    def _rows(self, completions: list[Completion]) -> pl.DataFrame:
        """Make rows of the ledger; completions share the time since the last commit in proportion to their tokens."""
        now = time.monotonic()
        each = (now - self._since) / sum(c.new_tokens + 1 for c in completions)
        self._since = now
        sampling: dict[int, str] = {}  # a million requests share the same few objects
        engines: dict[tuple[tuple[str, str], ...], str] = {}
        identity = self._model.identity
        rows = []
        for completion in completions:
            request = completion.request
            parts = split_reasoning(replace_lone_surrogates(completion.text), request.prompt)
            engine_seconds = each * (completion.new_tokens + 1)
            if id(request.sampling) not in sampling:
                sampling[id(request.sampling)] = request.sampling.model_dump_json(exclude_none=True)
            if completion.served not in engines:
                engines[completion.served] = json.dumps(self._engine | dict(completion.served), sort_keys=True)
            rows.append(
                (
                    identity.partition,
                    request.key,
                    request.sample_index,
                    uuid4().hex,
                    text_hash(parts.reasoning or "", parts.answer),
                    _outcome(completion, parts.reasoning, parts.answer),
                    replace_lone_surrogates(request.prompt),
                    parts.reasoning,
                    parts.answer,
                    completion.finish_reason,
                    None if completion.error is None else replace_lone_surrogates(completion.error),
                    completion.permanent,
                    completion.retries,
                    completion.prompt_tokens,
                    completion.completion_tokens,
                    completion.cached_tokens,
                    completion.seconds,
                    engine_seconds,
                    cost_of(self._model.reference, completion.prompt_tokens, completion.new_tokens, engine_seconds),
                    self._model.reference.price.currency,
                    self._purpose.asset,
                    self._purpose.source,
                    self._model.reference.name,
                    identity.model_id,
                    identity.revision,
                    engines[completion.served],
                    sampling[id(request.sampling)],
                    completion.created_at,
                    self._purpose.teacher,
                )
            )
        return pl.DataFrame(rows, schema=COMPLETIONS.schema, orient="row")


def _outcome(completion: Completion, reasoning: str | None, answer: str) -> str:
    if completion.error is not None:
        return "failed"
    if not answer.strip() and not (reasoning or "").strip():
        return "empty"
    ended = completion.finish_reason in FINISHED and answer.strip()
    return "answered" if ended else "unfinished"
