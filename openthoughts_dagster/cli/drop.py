"""Putting a file into the landing zone: first the data, then the manifest, and the marker last."""

import json
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from openthoughts_dagster.landing import LandedFolder, LandingError, LandingZone, open_landing_zone
from openthoughts_dagster.landing.landed_files import MANIFEST
from openthoughts_dagster.landing.manifest import read_manifest
from openthoughts_dagster.landing.watch import MARKER
from openthoughts_dagster.recipe import Recipe
from openthoughts_dagster.sources import ReaderContext, read_source
from openthoughts_dagster.storage import TEMPORARY_PREFIX

_OPTIONS = {"columns.question": "--question", "columns.answer": "--answer", "domain:": "--domain:"}


@dataclass(frozen=True)
class Dropped:
    """A source that landed: its address, its number of questions, and of rejected rows by reason.

    `new_domain` says that its domain is none of the recipe's; it is empty for one of them.
    """

    address: str
    questions: int
    rejected: Mapping[str, int]
    new_domain: str = ""

    def describe(self) -> str:
        """Say in a line what landed, what of it is no question, and whether its domain is new."""
        rows = ", ".join(f"{count:,} {reason}" for reason, count in sorted(self.rejected.items()))
        rejected = f", and {sum(self.rejected.values()):,} rows rejected: {rows}" if rows else ""
        return f"{self.questions:,} questions{rejected}{self.new_domain}"


def drop(
    landing: str | None, recipe: Recipe, name: str, file: Path, manifest: Mapping[str, Any], replace: bool = False
) -> Dropped:
    """Check that a file can be read as its manifest says, and copy both into the landing zone.

    Args:
        landing: The address of the landing zone; None when the deployment has none.
        recipe: The recipe.
        name: The name of the source.
        file: The file.
        manifest: The settings of the manifest.
        replace: Whether a source that landed under this name is replaced. Its marker is removed meanwhile, so that
            nobody reads half of it. By default it stays.

    Returns:
        The address of the source, and what its rows are.

    Raises:
        ValueError: There is no landing zone, or the name is taken.
        ManifestError: The manifest would be refused.
        SourceError: The file cannot be read.
        LandingError: The landing zone cannot be written.
    """
    if landing is None:
        raise ValueError("OPENTHOUGHTS_LANDING is not set: name the folder or s3:// prefix that the daemon watches")
    if any(source.name == name for source in recipe.sources):
        raise ValueError(f"the recipe has a source {name!r}: give this one another --name")
    zone = open_landing_zone(landing)
    there = _landed_before(zone, name)
    if there is not None and not replace:
        raise ValueError(
            f"{zone.address}/{name} has landed before ({', '.join(sorted(there.files)[:3])}): give this one another "
            "--name, or --replace to put it in the place of that one"
        )
    text = json.dumps(manifest, indent=1, ensure_ascii=False).encode()
    domains = {*recipe.domains, *(source.domain for source in recipe.sources)}
    source = read_manifest(name, text, str(file.resolve().parent), domains)
    with (
        tempfile.TemporaryDirectory(prefix=TEMPORARY_PREFIX) as staging,
        read_source(source, recipe, ReaderContext(Path(staging))) as read,
    ):
        kept, rejected = read.kept, dict(read.reasons)
    if there is not None:
        zone.remove(name, [MARKER])
        zone.remove(name, [old for old in there.files if old not in (MARKER, MANIFEST, file.name)])
    zone.write(name, {file.name: file, MANIFEST: text, MARKER: b""})
    new = f"; its domain {source.domain!r} is new, the recipe has {', '.join(sorted(domains))}"
    return Dropped(f"{zone.address}/{name}", kept, rejected, "" if source.domain in domains else new)


def name_options(message: str) -> str:
    """Replace the names of settings in a message by options of the command: `columns.question` by `--question`."""
    for setting, option in _OPTIONS.items():
        message = message.replace(setting, option)
    return message


def _landed_before(zone: LandingZone, name: str) -> LandedFolder | None:
    try:
        return zone.scan().get(name)
    except LandingError:
        return None  # there is no folder yet; otherwise writing reports the problem
