"""Makes a version of a release again, from the tables as they were."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
from pydantic import ValidationError

from openthoughts_dagster.lake import (
    COMPLETIONS,
    DEDUPED_QUESTIONS,
    RAW_SOURCES,
    REASONING_DATASET,
    REJECTED_RELEASE,
    RELEASE_FUNNEL,
    SCORED_QUESTIONS,
    Lake,
    LakeError,
)
from openthoughts_dagster.lake.reading import LakeReader
from openthoughts_dagster.recipe import Recipe
from openthoughts_dagster.release.card import FUNNEL_PLOT
from openthoughts_dagster.release.errors import ReleaseError
from openthoughts_dagster.release.make import CardWriter, card_writer, write_folder
from openthoughts_dagster.release.pool import QUESTION
from openthoughts_dagster.release.readme import head_of
from openthoughts_dagster.release.record import file_digests, library_versions
from openthoughts_dagster.release.versions import ReleaseVersion, rows_of_version
from openthoughts_dagster.storage import Folders, StorageError

_NEEDED = (DEDUPED_QUESTIONS, REJECTED_RELEASE, RELEASE_FUNNEL)


@dataclass(frozen=True)
class Rebuilt:
    """A version that was made again.

    Args:
        folder: Where its files are.
        differing: Files whose bytes differ from those that were recorded; the rows are the same all the same.
        libraries: For each library that has another version now: the recorded version and the present one.
    """

    folder: Path
    differing: tuple[str, ...]
    libraries: Mapping[str, tuple[str, str]]


def rebuild(
    lake: Lake,
    entry: ReleaseVersion,
    folder: Path,
    from_present: bool = False,
    recipe_folder: Path | None = None,
    folders: Folders | None = None,
) -> Rebuilt:
    """Make the files of a version again: the same rows, and the same bytes where the libraries are those of then.

    The questions and what was left out are read from the tables as they were. The ledger is read as it is: its rows
    are never changed, and each is found by its id.

    Args:
        lake: The tables.
        entry: The version.
        folder: Where the files go; it is empty or not there.
        from_present: Whether tables whose old version is gone are read as they are now. Rows are known by hashes of
            their texts, so that they are the same or missing.
        recipe_folder: Where the recipe's card template is.
        folders: Where the version's files are fetched when the tables no longer have its rows.

    Returns:
        The folder, and what differs.

    Raises:
        ReleaseError: The folder has files already or cannot be written, or the tables no longer have all of the
            version; the message says what can still be rebuilt.
    """
    if folder.exists() and any(folder.iterdir()):
        raise ReleaseError(f"{folder} has files already: name a folder that is empty or not there")
    rows = rows_of_version(lake, entry, folders)
    gone = _gone_tables(lake, entry, rows)
    if gone and not from_present:
        raise ReleaseError(
            f"version {entry.version} of {entry.name} cannot be rebuilt from the tables as they were: "
            f"{'; '.join(f'{name}: {why}' for name, why in gone.items())}. {_describe_rest(lake, rows)}"
        )
    pinned = [table.name for table in (*_NEEDED, REASONING_DATASET) if table.name not in gone]
    reader = lake.at({name: entry.tables.get(name) for name in pinned})
    lost = _lost_rows(reader, rows)
    if lost.height:
        raise ReleaseError(f"version {entry.version} of {entry.name} cannot be rebuilt. {_describe_rest(lake, rows)}")
    recipe = recorded_recipe(entry, recipe_folder)
    rejected = reader.scan(REJECTED_RELEASE, teacher=entry.teacher).collect()
    record = dict(entry.record)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_folder(reader, recipe, rows, rejected, folder, record, _card_writer(reader, entry, recipe, folders))
    except OSError as error:
        raise ReleaseError(
            f"the files could not be written to {folder}: {error}. Delete it before you try again"
        ) from error
    found, recorded, now = file_digests(folder), entry.record["files"], library_versions()
    differing = tuple(sorted(name for name in {*found, *recorded} if found.get(name) != recorded.get(name)))
    then: Mapping[str, str] = entry.record["libraries"]
    libraries = {name: (then[name], now[name]) for name in then if name in now and then[name] != now[name]}
    return Rebuilt(folder, differing, libraries)


def recorded_recipe(entry: ReleaseVersion, folder: Path | None = None) -> Recipe:
    """Return the recipe that a version was made with; `folder` is where its relative paths start now.

    Raises:
        ReleaseError: The recipe has settings that this code does not know.
    """
    settings: Any = entry.record["recipe"]
    try:
        recipe = Recipe.model_validate(settings)
    except ValidationError as error:
        problem, code = error.errors()[0], entry.record["code"]
        raise ReleaseError(
            f"version {entry.version} was made with a recipe that this version of openthoughts-dagster does not read: "
            f"{'.'.join(map(str, problem['loc']))}: {problem['msg']}. Rebuild it with the code that made it, version "
            f"{code['version']} ({code['sources'][:12]})"
        ) from error
    if folder is not None:
        recipe._folder = folder
    return recipe


def _card_writer(reader: LakeReader, entry: ReleaseVersion, recipe: Recipe, folders: Folders | None) -> CardWriter:
    """Return what writes the card: a copy of the version's own where it is still there, and else one of the tables."""

    def write(folder: Path, record: Mapping[str, Any]) -> str:
        files = folders or Folders()
        try:
            card = files.read(entry.path, "README.md").decode()
            text = card.removeprefix(head_of(card))
            (folder / FUNNEL_PLOT).write_bytes(files.read(entry.path, FUNNEL_PLOT))
        except (OSError, StorageError, UnicodeDecodeError):
            return card_writer(reader, recipe)(folder, record)
        return text.removeprefix("\n")

    return write


def _gone_tables(lake: Lake, entry: ReleaseVersion, rows: pl.DataFrame) -> dict[str, str]:
    """Name the tables that can no longer be read as they were, with the reason."""
    gone = {}
    for table in (*_NEEDED, REASONING_DATASET):
        number = entry.tables.get(table.name)
        reader = lake.at({table.name: number})
        try:
            if table is DEDUPED_QUESTIONS:
                for source in rows["source"].unique().sort():
                    reader.scan(table, source=source)
            else:
                reader.scan(table, teacher=entry.teacher)
        except LakeError as error:
            says = str(error).removeprefix(f"{lake.address(table)}: ").split(". ")[0]
            gone[table.name] = f"version {number} was vacuumed or its log has expired ({says})"
    return gone


def _lost_rows(lake: LakeReader, rows: pl.DataFrame) -> pl.DataFrame:
    """Return the rows whose question or completion is in no table any more."""
    names = rows.lazy().select(QUESTION).unique()
    there = [
        lake.scan(table).select(QUESTION).join(names, on=QUESTION, how="semi")
        for table in (DEDUPED_QUESTIONS, SCORED_QUESTIONS, RAW_SOURCES)
    ]
    questions = pl.concat(there).unique().collect()
    models = rows["model"].unique().implode()
    ledger = lake.scan(COMPLETIONS).filter(pl.col("model").is_in(models)).select("completion_id").collect()
    marked = rows.select(
        *QUESTION,
        no_completion=~pl.col("completion_id").is_in(ledger["completion_id"].implode()),
    )
    asked = questions.with_columns(asked=pl.lit(True))
    joined = marked.join(asked, on=QUESTION, how="left")
    return joined.filter(pl.col("asked").is_null() | pl.col("no_completion"))


def _describe_rest(lake: Lake, rows: pl.DataFrame) -> str:
    lost = _lost_rows(lake, rows)
    if lost.is_empty():
        return (
            f"The present tables still have all {rows.height:,} rows, by the hashes of their texts: rebuild with "
            "--from-present. Scores and origins of questions are then those of today"
        )
    completions = int(lost["no_completion"].sum())
    questions = lost.filter(pl.col("asked").is_null()).select(QUESTION).unique().height
    sources = ", ".join(f"{name} {count:,}" for name, count in lost["source"].value_counts().sort("source").iter_rows())
    return (
        f"The present tables have {rows.height - lost.height:,} of its {rows.height:,} rows: {questions:,} questions "
        f"and {completions:,} completions are gone (rows by source: {sources}). Restore them from a backup, or make a "
        "new version"
    )
