"""The ledger of completions: what was paid for, under content keys, committed as it comes in."""

import json
import threading
import time
from collections.abc import Iterable, Sequence
from types import TracebackType
from typing import Any

import polars as pl

from openthoughts_dagster.generation.model import Model
from openthoughts_dagster.generation.reasoning import split_reasoning
from openthoughts_dagster.generation.requests import Answer, Completion
from openthoughts_dagster.lake import COMPLETIONS, Lake

_PAID = pl.col("error").is_null()


def paid_samples(lake: Lake, model: Model, keys: Sequence[str]) -> pl.DataFrame:
    """Which of the `keys` were answered: columns key and sample_index, each pair once. Reads no texts."""
    wanted = pl.LazyFrame({"key": pl.Series(keys, dtype=pl.String)}).unique()
    rows = lake.scan(COMPLETIONS, model=model.identity.partition).filter(_PAID).select("key", "sample_index")
    return rows.join(wanted, on="key", how="semi").unique().collect()


def read_answers(lake: Lake, model: Model, keys: Sequence[str]) -> dict[tuple[str, int], Answer]:
    """The answers of `keys` by key and sample index. A sample whose every attempt failed has its error."""
    wanted = pl.LazyFrame({"key": pl.Series(keys, dtype=pl.String)}).unique()
    rows = (
        lake.scan(COMPLETIONS, model=model.identity.partition)
        .join(wanted, on="key", how="semi")
        .select(*Answer.__dataclass_fields__)
        .sort("error", nulls_last=True)  # a later attempt that worked replaces the failure
        .collect()
    )
    return {(row["key"], row["sample_index"]): Answer(**row) for row in rows.iter_rows(named=True)}


class LedgerWriter:
    """Commits completions every few seconds or megabytes, whichever comes first, and what is left at the end.

    A kill loses at most the last `seconds`. Commits run in the thread of `run_commits`, so that an engine never
    waits for the disk. Used as a context manager.
    """

    def __init__(
        self, lake: Lake, model: Model, engine: dict[str, Any], seconds: float = 15, megabytes: float = 64
    ) -> None:
        self._lake, self._model, self._engine = lake, model, json.dumps(engine, sort_keys=True)
        self._seconds, self._bytes = seconds, int(megabytes * 2**20)
        self._rows: list[dict[str, Any]] = []
        self._size = 0
        self._wake = threading.Condition()
        self._closing = False
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="ledger", daemon=True)

    def __enter__(self) -> "LedgerWriter":
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._wake:
            self._closing = True
            self._wake.notify()
        self._thread.join()
        if self._error is not None and error is None:
            raise self._error

    def add(self, completion: Completion) -> None:
        """Take a completion for the next commit. Raises LakeError when an earlier commit failed: stop paying."""
        row = self._row(completion)
        with self._wake:
            if self._error is not None:
                raise self._error
            self._rows.append(row)
            self._size += len(row["prompt"]) + len(row["answer"]) + len(row["reasoning"] or "")
            if self._size >= self._bytes:
                self._wake.notify()

    def _run(self) -> None:
        done = False
        while not done:
            with self._wake:
                deadline = time.monotonic() + self._seconds
                while not self._closing and self._size < self._bytes and (left := deadline - time.monotonic()) > 0:
                    self._wake.wait(left)
                rows, self._rows, self._size = self._rows, [], 0
                done = self._closing
            try:
                if rows:
                    self._lake.append(COMPLETIONS, pl.DataFrame(rows, schema=COMPLETIONS.schema))
            except BaseException as error:
                with self._wake:
                    self._error = error
                return

    def _row(self, completion: Completion) -> dict[str, Any]:
        request, parts = completion.request, split_reasoning(completion.text)
        return {
            "model": self._model.identity.partition,
            "key": request.key,
            "sample_index": request.sample_index,
            "prompt": request.prompt,
            "reasoning": parts.reasoning,
            "answer": parts.answer,
            "finish_reason": completion.finish_reason,
            "error": completion.error,
            "prompt_tokens": completion.prompt_tokens,
            "completion_tokens": completion.completion_tokens,
            "cached_tokens": completion.cached_tokens,
            "seconds": completion.seconds,
            "model_id": self._model.identity.model_id,
            "revision": self._model.identity.revision,
            "engine": self._engine,
            "sampling": request.sampling.model_dump_json(),
            "created_at": completion.created_at,
        }


def unique_keys(keys: Iterable[str]) -> list[str]:
    """The keys, each once, in order."""
    return list(dict.fromkeys(keys))
