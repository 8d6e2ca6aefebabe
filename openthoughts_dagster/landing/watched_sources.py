"""Which sources there are beside those of the recipe, and which version of each source was accepted last."""

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from uuid import uuid4

import polars as pl
from pydantic import TypeAdapter

from openthoughts_dagster.lake import WATCHED_SOURCES, Lake
from openthoughts_dagster.recipe import Source

VANISHED = "vanished from the landing zone; its partition and its data are kept"

_SOURCE: TypeAdapter[Source] = TypeAdapter(Source)
_VERSION_COLUMN = "take"  # the column keeps its first name, so that older lakes open


@dataclass(frozen=True)
class WatchedSource:
    """A source as it was when it was last looked at.

    `signature` is the state of its files and settings, `content` identifies their content. `problem` says why the
    source was not accepted, or that it vanished. `version_id` names this version of its content, and `number` counts
    the versions of all sources: a version with a higher number than a reader knows is new to that reader.
    """

    source: str
    signature: str
    content: str
    manifest: str
    problem: str
    version_id: str
    number: int

    def as_source(self) -> Source:
        """The landed source that the manifest described."""
        return _SOURCE.validate_python(json.loads(self.manifest))

    @property
    def landed(self) -> bool:
        """Whether it landed and was accepted at least once; it stays so when it vanishes."""
        return bool(self.manifest)

    @property
    def present(self) -> bool:
        """Whether it landed and is still there."""
        return self.landed and self.problem != VANISHED


class WatchedSources:
    """The table of watched sources. Every process of a deployment reads it; only the landing sensor writes."""

    def __init__(self, lake: Lake) -> None:
        self._lake = lake

    def read(self) -> dict[str, WatchedSource]:
        """All watched sources by name."""
        rows = self._lake.scan(WATCHED_SOURCES).collect().rename({_VERSION_COLUMN: "version_id"})
        return {row["source"]: WatchedSource(**row) for row in rows.iter_rows(named=True)}

    def find(self, name: str) -> Source | None:
        """The landed source of that name, as it was last accepted."""
        rows = self._lake.scan(WATCHED_SOURCES, source=name).collect().rename({_VERSION_COLUMN: "version_id"})
        found = [WatchedSource(**row) for row in rows.iter_rows(named=True)]
        return found[0].as_source() if found and found[0].landed else None

    def save(self, watched: Iterable[WatchedSource]) -> None:
        """Make these the whole table, in one commit."""
        rows = [asdict(entry) for entry in sorted(watched, key=lambda entry: entry.source)]
        stored = [{_VERSION_COLUMN: row.pop("version_id"), **row} for row in rows]
        self._lake.replace(WATCHED_SOURCES, pl.DataFrame(stored, schema=WATCHED_SOURCES.schema))


def new_version_id() -> str:
    """A name for a version of a source; a version that was there before gets a new one when it comes back."""
    return uuid4().hex[:12]
