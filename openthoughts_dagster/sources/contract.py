"""What every reader is: a list of shards, each a stream of rows with the reason of those that cannot be read."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from openthoughts_dagster.generation.requests import AskModel
from openthoughts_dagster.recipe import Columns, Recipe
from openthoughts_dagster.recipe.sources import SourceBase

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
class Reader:
    """One kind of reader, as the table `READERS` lists it.

    Attributes:
        settings: The model of its block in a recipe.
        read: Opens a source. Gets the source, its recipe, what the deployment gives, and the seed of samples.
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
    """What a deployment gives to readers.

    Attributes:
        staging: Folder for rows on their way to the lake.
        copies: Folder with local copies of datasets of the hub, each at its id; None without copies.
        ask: Opens a judge of the recipe by name; None where no judge can be asked.
        log: Gets a line for each shard that was read.
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
