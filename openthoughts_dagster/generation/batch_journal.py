"""The durable record of batches: which requests were uploaded, and which results the ledger has already."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Protocol, runtime_checkable

import polars as pl

from openthoughts_dagster.generation.model import Model
from openthoughts_dagster.generation.requests import Request
from openthoughts_dagster.lake import COMPLETIONS, REQUEST_BATCHES, Lake

_KEPT = timedelta(days=60)  # servers delete the results of a batch after 30 days


class BatchJournal:
    """Records the requests of a batch before the batch is made, so that no paid result can be lost.

    A process may be killed at any moment. Before the row is written nothing is paid, because a file costs nothing.
    Afterwards the batch is found among those of the server by the file that it was made from. Completions of a batch
    have its id in the ledger's column `engine`, so that a result that was committed is not taken a second time.

    Args:
        lake: The tables.
        model: The model that is asked.
        asset: The asset for which it is asked.
        source: The source for which it is asked.
        log: Takes lines of progress.
    """

    def __init__(self, lake: Lake, model: Model, asset: str, source: str, log: Callable[[str], None]) -> None:
        self._lake, self._model = lake, model
        self._asset, self._source = asset, source
        self.log = log

    def record(self, server: str, input_file: str, requests: Sequence[str]) -> None:
        """Record an uploaded file with the custom ids of its requests. Raises LakeError if that fails."""
        row = {
            "model": self._model.identity.partition,
            "server": server,
            "input_file": input_file,
            "requests": list(requests),
            "asset": self._asset,
            "source": self._source,
            "created_at": datetime.now(UTC),
        }
        self._lake.append(REQUEST_BATCHES, pl.DataFrame([row], schema=REQUEST_BATCHES.schema))

    def uploaded(self, server: str) -> dict[str, list[str]]:
        """Return the custom ids of every file that may still have a batch, the oldest file first."""
        rows = (
            self._lake.scan(REQUEST_BATCHES, model=self._model.identity.partition)
            .filter(pl.col("server") == server, pl.col("created_at") > datetime.now(UTC) - _KEPT)
            .sort("created_at")
            .select("input_file", "requests")
            .collect()
        )
        return dict(rows.iter_rows())

    def committed(self) -> set[tuple[str, str]]:
        """Return the custom id and the batch of every completion in the ledger that came from a batch."""
        rows = (
            self._lake.scan(COMPLETIONS, model=self._model.identity.partition)
            .filter(pl.col("engine").str.contains('"batch": ', literal=True))
            .select("key", "sample_index", batch=pl.col("engine").str.json_path_match("$.batch"))
            .collect(engine="streaming")
        )
        return {(custom_id(key, index), batch) for key, index, batch in rows.iter_rows() if batch}


@runtime_checkable
class UsesBatches(Protocol):
    """An engine whose requests outlive its process, so that it needs a durable record of what it has asked."""

    def use_journal(self, journal: BatchJournal) -> None:
        """Take the record of earlier batches. It is called before each `generate`."""
        ...


def custom_id(key: str, sample_index: int) -> str:
    """Return the name of a request in a batch."""
    return f"{key}-{sample_index}"


def custom_id_of(request: Request) -> str:
    """Return the name of `request` in a batch."""
    return custom_id(request.key, request.sample_index)
