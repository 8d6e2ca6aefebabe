"""The table of watched sources: the sources of the recipe and the landed ones, with the version accepted last."""

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
_VERSION_COLUMN = "take"  # the column keeps its old name, so that older lakes can be read


@dataclass(frozen=True)
class WatchedSource:
    """One source as it was at the latest look.

    Attributes:
        source: The name of the source.
        signature: The state of its files and settings, known without reading the files.
        content: Identifies the content of its files and settings.
        manifest: The accepted manifest as JSON; empty for a source of the recipe.
        problem: Why the source was not accepted, or that it vanished; empty when nothing is wrong.
        version_id: A name for this version of its content.
        number: Counts the versions of all sources: a version with a higher number than a reader knows is new to it.
    """

    source: str
    signature: str
    content: str
    manifest: str
    problem: str
    version_id: str
    number: int

    def as_source(self) -> Source:
        """Return the landed source that the manifest describes."""
        return _SOURCE.validate_python(json.loads(self.manifest))

    @property
    def landed(self) -> bool:
        """Whether the source landed and was accepted at least once. This stays true when it vanishes."""
        return bool(self.manifest)

    @property
    def present(self) -> bool:
        """Whether the source landed and has not vanished."""
        return self.landed and self.problem != VANISHED


class WatchedSources:
    """The lake's table of watched sources. Every process of a deployment reads it; only the landing sensor writes it.

    Args:
        lake: The lake that has the table. Every method raises LakeError when the table cannot be read or written.
    """

    def __init__(self, lake: Lake) -> None:
        self._lake = lake

    def read(self) -> dict[str, WatchedSource]:
        """Read all watched sources.

        Returns:
            The sources of the recipe and the landed ones, by name.
        """
        rows = self._lake.scan(WATCHED_SOURCES).collect().rename({_VERSION_COLUMN: "version_id"})
        return {row["source"]: WatchedSource(**row) for row in rows.iter_rows(named=True)}

    def find(self, name: str) -> Source | None:
        """Find a landed source.

        Args:
            name: The name of the source.

        Returns:
            The source as it was accepted last; None when no source of this name has landed.
        """
        rows = self._lake.scan(WATCHED_SOURCES, source=name).collect().rename({_VERSION_COLUMN: "version_id"})
        found = [WatchedSource(**row) for row in rows.iter_rows(named=True)]
        return found[0].as_source() if found and found[0].landed else None

    def save(self, watched: Iterable[WatchedSource]) -> None:
        """Replace the whole table in one commit.

        Args:
            watched: The entries of the new table.
        """
        rows = [asdict(entry) for entry in sorted(watched, key=lambda entry: entry.source)]
        stored = [{_VERSION_COLUMN: row.pop("version_id"), **row} for row in rows]
        self._lake.replace(WATCHED_SOURCES, pl.DataFrame(stored, schema=WATCHED_SOURCES.schema))


def new_version_id() -> str:
    """Make a new name for a version of a source. Content that comes back after a change gets a new name as well."""
    return uuid4().hex[:12]
