"""Which sources there are beside those of the recipe, and in which state each source was last taken."""

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from uuid import uuid4

import polars as pl
from pydantic import TypeAdapter

from openthoughts_dagster.lake import WATCHED_SOURCES, Lake
from openthoughts_dagster.recipe import Source

VANISHED = "vanished from the landing place; its partition and its data are kept"

_SOURCE: TypeAdapter[Source] = TypeAdapter(Source)


@dataclass(frozen=True)
class Entry:
    """A source as it was when it was last looked at.

    `signature` is the state of its files and settings, `content` what identifies their content. `problem` says why it
    was not taken, or that it vanished. `take` names this state of its content, and `number` counts such states over
    all sources: what has a higher number than a reader knows is news to it.
    """

    source: str
    signature: str
    content: str
    manifest: str
    problem: str
    take: str
    number: int

    def as_source(self) -> Source:
        """The landed source that the manifest described."""
        return _SOURCE.validate_python(json.loads(self.manifest))

    @property
    def landed(self) -> bool:
        """Whether it landed and was taken at least once; it stays so when it vanishes."""
        return bool(self.manifest)

    @property
    def present(self) -> bool:
        """Whether it landed and is still there."""
        return self.landed and self.problem != VANISHED


class Catalog:
    """The table of watched sources. Every process of a deployment reads it; only the landing sensor writes."""

    def __init__(self, lake: Lake) -> None:
        self._lake = lake

    def entries(self) -> dict[str, Entry]:
        """All entries by name of the source."""
        rows = self._lake.scan(WATCHED_SOURCES).collect()
        return {row["source"]: Entry(**row) for row in rows.iter_rows(named=True)}

    def find(self, name: str) -> Source | None:
        """The landed source of that name, as it was last taken."""
        rows = self._lake.scan(WATCHED_SOURCES, source=name).collect()
        entries = [Entry(**row) for row in rows.iter_rows(named=True)]
        return entries[0].as_source() if entries and entries[0].landed else None

    def save(self, entries: Iterable[Entry]) -> None:
        """Make these the whole table, in one commit."""
        rows = [asdict(entry) for entry in sorted(entries, key=lambda entry: entry.source)]
        self._lake.replace(WATCHED_SOURCES, pl.DataFrame(rows, schema=WATCHED_SOURCES.schema))


def new_take() -> str:
    """A name for a state of a source: also a state that was there before gets a new one when it comes back."""
    return uuid4().hex[:12]
