"""What every reader is: a list of shards, each a stream of rows with the reason of those that cannot be read."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from openthoughts_dagster.generation.requests import AskModel
from openthoughts_dagster.recipe import Columns

EVIDENCE = 200  # characters of a bad row that its rejection quotes
LONGEST_ROW = 16 * 2**20  # bytes; a longer one is no question, and memory has to hold it several times


class SourceError(ValueError):
    """A source that cannot be read: says which, why, and what to change."""


@dataclass(frozen=True)
class Row:
    """A row as its reader has it, and where it was. With `problem` (reason, evidence) it could not be parsed.

    `columns` maps the row when its source's own mapping does not. `finish` makes the row that is kept: work that is
    not worth doing for rows that filters or a sample leave out.
    """

    values: Mapping[str, Any]
    origin: Mapping[str, Any]
    problem: tuple[str, str] | None = None
    columns: Columns | None = None
    finish: Callable[[], "Row"] | None = None


@dataclass(frozen=True)
class Shard:
    """A part of a source that is read in one go, and from its beginning again after a crash.

    `name` is the same on every machine and for every version of the data; a shard with the same `version` as well
    has the same rows. `rows` opens it; the rows come in a fixed order. Raises SourceError when it cannot be read to
    its end.
    """

    name: str
    version: str
    rows: Callable[[], Iterator[Row]]


@dataclass(frozen=True)
class Reading:
    """A source, opened. `sampled` says that the reader took care of the source's limit itself."""

    shards: list[Shard]
    sampled: bool = False


@dataclass(frozen=True)
class ReaderContext:
    """What a deployment gives to readers.

    `staging` is a folder for rows on their way to the lake; `copies` one with local copies of datasets of the hub,
    each at its id; `ask` opens a judge of the recipe by name.
    """

    staging: Path
    copies: Path | None = None
    ask: Callable[[str], AskModel] | None = None
    log: Callable[[str], None] = lambda _: None


def quoted(value: str | bytes) -> str:
    """The beginning of a bad value, as evidence; what no table can hold is escaped."""
    start = value[:EVIDENCE]
    text = start.decode("utf-8", "backslashreplace") if isinstance(start, bytes) else start
    return text.encode("utf-8", "backslashreplace").decode("utf-8")
