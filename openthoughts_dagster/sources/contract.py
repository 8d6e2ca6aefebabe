"""The contract of readers: a reader returns shards, and each shard is a stream of rows and of rejected rows."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from openthoughts_dagster.generation.requests import AskModel
from openthoughts_dagster.recipe import Columns, Recipe
from openthoughts_dagster.recipe.sources import SourceBase

EVIDENCE = 200  # characters of a bad row that its rejection quotes
LONGEST_ROW = 16 * 2**20  # bytes; a longer row is no question, and memory would have to hold it several times


class SourceError(ValueError):
    """A source cannot be read. The message says which source, why, and what to change."""


@dataclass(frozen=True)
class Row:
    """One row as a reader yields it.

    Attributes:
        values: The values by column name.
        origin: Where the row was, such as file and line, so that a person finds it again.
        problem: The reason and the evidence when the row could not be parsed; otherwise None.
        columns: How the row is mapped, when this differs from the mapping of its source.
        finish: Makes the row that is kept. Costly work belongs here: it is not done for rows that filters or a sample
            leave out.
    """

    values: Mapping[str, Any]
    origin: Mapping[str, Any]
    problem: tuple[str, str] | None = None
    columns: Columns | None = None
    finish: Callable[[], "Row"] | None = None


@dataclass(frozen=True)
class Shard:
    """A part of a source that is read at once, and is read again from its beginning after a crash.

    Attributes:
        name: The name of the shard, the same on every machine and for every version of the data.
        version: Identifies the content: two shards with equal name and version have equal rows.
        rows: Opens the shard and yields its rows in a fixed order. It raises SourceError when the shard cannot be read
            to its end.
    """

    name: str
    version: str
    rows: Callable[[], Iterator[Row]]


@dataclass(frozen=True)
class Reading:
    """What a reader returns for a source.

    Attributes:
        shards: The shards of the source.
        sampled: Whether the reader has applied the source's `limit` itself.
    """

    shards: list[Shard]
    sampled: bool = False


@dataclass(frozen=True)
class Reader:
    """One kind of reader, as the table `READERS` lists it.

    Attributes:
        settings: The pydantic model of its block in a recipe.
        read: Opens a source. Its arguments are the source, the recipe, the reader's context and the seed of samples.
        package: The Python package that it needs beyond the project's own, as it is imported; None when it needs none.
        extra: The extra of this project that installs the package.
        columns: The columns that its rows have, when a recipe does not map them.
        asks_judge: Whether it pays a judge for each source, so that only a recipe, which is reviewed, may name it.
    """

    settings: type[SourceBase]
    read: Callable[[Any, Recipe, "ReaderContext", str], Reading]
    package: str | None = None
    extra: str = "sources"
    columns: Columns | None = None
    asks_judge: bool = False


@dataclass(frozen=True)
class ReaderContext:
    """The folders and functions of a deployment that readers use.

    Attributes:
        staging: A folder for rows on their way to the lake.
        copies: A folder with local copies of the hub's datasets, each at its id; None when there are no copies.
        ask: Opens a judge of the recipe by name; None when no judge can be asked.
        log: Gets a line for each shard that was read.
    """

    staging: Path
    copies: Path | None = None
    ask: Callable[[str], AskModel] | None = None
    log: Callable[[str], None] = lambda _: None


def quote(value: str | bytes) -> str:
    """Quote the beginning of a bad value as evidence. Bytes and characters that no table can hold are escaped."""
    start = value[:EVIDENCE]
    text = start.decode("utf-8", "backslashreplace") if isinstance(start, bytes) else start
    return text.encode("utf-8", "backslashreplace").decode("utf-8")
