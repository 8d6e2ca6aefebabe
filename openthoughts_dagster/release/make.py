"""Makes a version of a release: chooses its rows, and writes its tables, its folder and its record."""

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl

from openthoughts_dagster.answers import FilterTools
from openthoughts_dagster.lake import (
    REASONING_DATASET,
    REJECTED_RELEASE,
    RELEASE_FUNNEL,
    RELEASE_VERSIONS,
    Lake,
    frame_hash,
)
from openthoughts_dagster.lake.reading import LakeReader
from openthoughts_dagster.recipe import Recipe
from openthoughts_dagster.release.card import FUNNEL_PLOT, draw_funnel, read_card_facts, write_card
from openthoughts_dagster.release.choosing import ReleaseRows, choose_rows, release_of
from openthoughts_dagster.release.errors import ReleaseError
from openthoughts_dagster.release.files import manifest_of, version_of, write_files
from openthoughts_dagster.release.folder import ReleasePlace
from openthoughts_dagster.release.pool import QUESTION
from openthoughts_dagster.release.readme import write_description
from openthoughts_dagster.release.record import RECORD, file_digests, make_record, read_record, table_versions

_ATTEMPTS = 5
_WRITTEN = (REASONING_DATASET, REJECTED_RELEASE, RELEASE_FUNNEL)
CardWriter = Callable[[Path, Mapping[str, Any]], str]
"""Gets the folder and the record of a version, puts pictures there, and returns the text of the card."""


@dataclass(frozen=True)
class MadeRelease:
    """A version of a release.

    Args:
        version: The version.
        path: The folder or address of its files.
        record: What it was made from.
        chosen: Its rows, and what was left out.
        new: Whether its files were written now; False when an equal version was there.
    """

    version: str
    path: str
    record: Mapping[str, Any]
    chosen: ReleaseRows
    new: bool


def make_release(
    lake: Lake,
    recipe: Recipe,
    teacher: str,
    place: ReleasePlace,
    places: Mapping[str, str] | None = None,
    benchmarks: pl.DataFrame | None = None,
    tools: FilterTools | None = None,
) -> MadeRelease:
    """Make the version of the recipe's release that the tables have now. A version that is there is not made again.

    Args:
        lake: The tables.
        recipe: The recipe with its release.
        teacher: The teacher whose answers it has.
        place: Where its folder goes.
        places: Names of variables and the addresses that stand for them in the recipe; the record has the names.
        benchmarks: The questions that may not be trained on, as in `choose_rows`.
        tools: Judges and the student, for a filter that asks them.

    Returns:
        The version.

    Raises:
        ReleaseError: As in `choose_rows`; or its files cannot be written, and then nothing is left of them.

    Example:
        >>> place = ReleasePlace("data/releases", Path("data/releases"), Folders())  # doctest: +SKIP
        >>> make_release(lake, recipe, "qwq-32b", place).version  # doctest: +SKIP
        '3f0c6f7b2a91'
    """
    release, made_at = release_of(recipe), datetime.now(UTC)
    tables = table_versions(lake)
    chosen = choose_rows(lake.at(tables), recipe, teacher, benchmarks, tools)
    manifest = manifest_of(chosen.rows)
    version = version_of(manifest)
    tables |= _write_tables(lake, teacher, chosen)
    path = place.address_of(release.name, teacher, version)
    more = {
        "version": version,
        "rows": chosen.rows.height,
        "questions": chosen.rows.select(QUESTION).unique().height,
        "sources": list(dict.fromkeys(chosen.funnel["source"])),
        "sizes": dict(release.sizes),
        "shortfalls": list(chosen.shortfalls),
        "manifest": frame_hash(manifest),
    }
    record = make_record(recipe, teacher, made_at, tables, places or {}, **more)

    def make(folder: Path) -> None:
        write_folder(lake.at(tables), recipe, chosen.rows, chosen.rejected, folder, record, card_writer(lake, recipe))

    def describe(folder: Path) -> None:
        write_description(folder, recipe, _sources_of(chosen.rows), record, card_writer(lake, recipe)(folder, record))

    new, moved = place.put(release.name, teacher, version, make), False
    if not new:  # its title and licence may be others by now; files of the folder are known by what the tables recorded
        terms = {name: record[name] for name in ("title", "licence")}
        record = _known_record(lake, teacher, path) or read_record(place.folders.read(path, RECORD).decode())
        if moved := terms != {name: record[name] for name in terms}:
            record |= terms
            place.update(release.name, teacher, version, describe)
    if new or moved or latest_version(lake, teacher) != (version, path):
        made_at = _after_others(lake, teacher, made_at)
        entry = {"teacher": teacher, "version": version, "made_at": made_at, "path": path, "record": json.dumps(record)}
        entry |= {"rows": more["rows"], "questions": more["questions"]}
        lake.append(RELEASE_VERSIONS, pl.DataFrame([entry], schema=RELEASE_VERSIONS.schema))
    return MadeRelease(version, path, record, chosen, new)


def latest_version(lake: LakeReader, teacher: str) -> tuple[str, str] | None:
    """Return the version that was made last of a teacher's answers, and its path; None when there is none."""
    rows = lake.scan(RELEASE_VERSIONS, teacher=teacher).sort("made_at").tail(1).select("version", "path").collect()
    return rows.row(0) if rows.height else None


def _after_others(lake: LakeReader, teacher: str, made_at: datetime) -> datetime:
    """Return a time after that of every version that was made before, also where the clock was set back."""
    last = lake.scan(RELEASE_VERSIONS, teacher=teacher).select(pl.col("made_at").max()).collect().item()
    return made_at if last is None else max(made_at, last + timedelta(microseconds=1))


def _known_record(lake: LakeReader, teacher: str, path: str) -> dict[str, Any] | None:
    rows = lake.scan(RELEASE_VERSIONS, teacher=teacher).filter(path=path).sort("made_at").tail(1).collect()
    return read_record(rows["record"].item()) if rows.height else None


def write_folder(
    lake: LakeReader,
    recipe: Recipe,
    rows: pl.DataFrame,
    rejected: pl.DataFrame,
    folder: Path,
    record: dict[str, Any],
    write_card: CardWriter,
) -> None:
    """Write all files of a version into an empty folder. Adds their sizes and hashes to `record`.

    Args:
        lake: The tables with the questions and completions of the rows.
        recipe: The recipe with its release.
        rows: Rows of reasoning_dataset, in their order.
        rejected: Rows of rejected_release.
        folder: The folder.
        record: The record of the version.
        write_card: Writes the card.

    Raises:
        ReleaseError: A question or completion of the rows is gone.
        OSError: The folder cannot be written.
    """
    sizes = write_files(lake, rows, rejected, folder, release_of(recipe).shard_size, folder)
    record["configs"] = {name: asdict(size) for name, size in sizes.items()}
    record["files"] = file_digests(folder)
    write_description(folder, recipe, _sources_of(rows), record, write_card(folder, record))


def _sources_of(rows: pl.DataFrame) -> list[str]:
    return rows["source"].unique().sort().to_list()


def _write_tables(lake: Lake, teacher: str, chosen: ReleaseRows) -> dict[str, int | None]:
    """Write the tables of the release, and return their versions at which the rows are exactly these."""
    content = frame_hash(chosen.rows)
    for _ in range(_ATTEMPTS):
        lake.replace(RELEASE_FUNNEL, chosen.funnel, teacher=teacher)
        lake.replace(REJECTED_RELEASE, chosen.rejected, teacher=teacher)
        lake.replace(REASONING_DATASET, chosen.rows, teacher=teacher)
        now = table_versions(lake)
        own = {table.name: now[table.name] for table in _WRITTEN}
        if frame_hash(lake.at(own).scan(REASONING_DATASET, teacher=teacher).collect()) == content:
            return own
    raise ReleaseError(
        f"reasoning_dataset of {teacher} was written by another process {_ATTEMPTS} times meanwhile: make one release "
        "of a teacher at a time, or give different recipes different lakes"
    )


def card_writer(lake: LakeReader, recipe: Recipe) -> CardWriter:
    """Return the function that writes the card of a version and its plot, from the tables."""

    def write(folder: Path, record: Mapping[str, Any]) -> str:
        made_at = datetime.fromisoformat(record["made_at"])
        named = (record["teacher"], record["version"], made_at, record["shortfalls"], record)
        facts = read_card_facts(lake, recipe, *named)
        (folder / FUNNEL_PLOT).write_text(draw_funnel(facts.funnel), encoding="utf-8")
        return write_card(facts)

    return write
