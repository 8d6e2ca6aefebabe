"""The versions of releases that were made, and the rows of each."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import polars as pl

from openthoughts_dagster.lake import (
    REASONING_DATASET,
    REJECTED_RELEASE,
    RELEASE_VERSIONS,
    Lake,
    LakeError,
)
from openthoughts_dagster.lake.reading import LakeReader
from openthoughts_dagster.release.errors import ReleaseError
from openthoughts_dagster.release.files import MANIFEST, manifest_of, version_of
from openthoughts_dagster.release.record import read_record
from openthoughts_dagster.storage import Folders, StorageError, local_path

_ROW = ["source", "question_id", "sample_index", "model", "completion_id", "content"]


@dataclass(frozen=True)
class ReleaseVersion:
    """One version of a release.

    Args:
        version: The version.
        teacher: The teacher whose answers it has.
        made_at: When it was first made, UTC.
        path: The folder or address of its files.
        rows: Number of rows.
        questions: Number of questions.
        record: What it was made from.
    """

    version: str
    teacher: str
    made_at: datetime
    path: str
    rows: int
    questions: int
    record: Mapping[str, Any]

    @property
    def name(self) -> str:
        """Name of the release."""
        return str(self.record["name"])

    @property
    def tables(self) -> dict[str, int | None]:
        """The version of each table that it was made from; None for a table that was not there yet."""
        return dict(self.record["tables"])


def list_versions(lake: LakeReader) -> list[ReleaseVersion]:
    """Return every version that was made, the oldest first. One that was made several times is listed once.

    Its record and its folder are the latest ones: the title and licence may have changed, and folders may have moved.
    """
    found: dict[tuple[str, str, str], ReleaseVersion] = {}
    for row in lake.scan(RELEASE_VERSIONS).sort("made_at").collect().iter_rows(named=True):
        made = ReleaseVersion(
            row["version"],
            row["teacher"],
            row["made_at"],
            row["path"],
            row["rows"],
            row["questions"],
            read_record(row["record"]),
        )
        key = (made.name, made.teacher, made.version)
        found[key] = replace(made, made_at=found[key].made_at) if key in found else made
    return list(found.values())


def find_version(lake: LakeReader, version: str) -> ReleaseVersion:
    """Return the version of a name.

    Args:
        lake: The tables.
        version: The version, or its first characters. NAME/TEACHER/VERSION is one of several releases with equal rows.

    Raises:
        ReleaseError: No version is called so, or several are.
    """
    known = list_versions(lake)
    label, _, characters = version.rpartition("/")
    found = [
        each
        for each in known
        if characters and each.version.startswith(characters) and label in ("", f"{each.name}/{each.teacher}")
    ]
    if len(found) == 1:
        return found[0]
    listed = ", ".join(f"{each.version} ({each.name} of {each.teacher})" for each in found or known) or "none"
    if len({each.version for each in found}) == 1:
        labels = " or ".join(f"{each.name}/{each.teacher}/{each.version}" for each in found)
        raise ReleaseError(f"several releases have the version {found[0].version}: give {labels}")
    if found:
        raise ReleaseError(f"several versions begin with {version!r}: {listed}. Give more of its characters")
    raise ReleaseError(f"no release has the version {version!r}; there are {listed}")


def rows_of_version(lake: Lake, entry: ReleaseVersion, folders: Folders | None = None) -> pl.DataFrame:
    """Return the rows of a version, as reasoning_dataset had them.

    They are read from the table as it was; where that is gone, from the table as it is, if it has these rows still, and
    otherwise from the version's own files.

    Args:
        lake: The tables.
        entry: The version.
        folders: Where its files are fetched when they are in a store.

    Raises:
        ReleaseError: The rows are nowhere any more.
    """
    for reader in (lake.at(entry.tables), lake):
        try:
            rows = reader.scan(REASONING_DATASET, teacher=entry.teacher).sort("position").collect()
        except (LakeError, pl.exceptions.PolarsError, OSError):
            continue
        if rows.height and version_of(manifest_of(rows)) == entry.version:
            return rows
    try:
        rows = _rows_of_files(entry, folders or Folders())
        problem = (
            "" if version_of(manifest_of(rows)) == entry.version else "has other rows by now: its files were changed"
        )
    except (OSError, StorageError, pl.exceptions.PolarsError) as error:
        problem = f"cannot be read ({error})"
    if problem:
        raise ReleaseError(
            f"the rows of version {entry.version} are gone: reasoning_dataset no longer has its version "
            f"{entry.tables.get(REASONING_DATASET.name)}, and {entry.path} {problem}. So it cannot be "
            "rebuilt. You can choose rows again with the recipe in its record: openthoughts release show "
            f"{entry.version}"
        )
    return rows


def rejected_of_version(lake: Lake, entry: ReleaseVersion) -> pl.DataFrame | None:
    """Return what a version left out, as rejected_release had it; None where that is gone."""
    try:
        return lake.at(entry.tables).scan(REJECTED_RELEASE, teacher=entry.teacher).collect()
    except (LakeError, pl.exceptions.PolarsError, OSError):
        return None


def _rows_of_files(entry: ReleaseVersion, folders: Folders) -> pl.DataFrame:
    folder = local_path(entry.path)
    if folder is None:
        folder = folders.fetch(entry.path)
    rows = pl.read_parquet(folder / MANIFEST, glob=False)
    about = _read_files(folder / "metadata", ["domain", "licence", "agreement", "majority"])
    difficulty = _read_files(folder / "data", ["difficulty"])
    full = pl.concat([rows.select("position", *_ROW), about, difficulty], how="horizontal")
    return full.with_columns(teacher=pl.lit(entry.teacher)).select(list(REASONING_DATASET.columns))


def _read_files(folder: Path, columns: list[str]) -> pl.DataFrame:
    """Read columns of a config in the order of its files. Letters such as [ in the folder's path are no pattern."""
    files = sorted(folder.glob("*.parquet"))
    if not files:
        raise FileNotFoundError(f"{folder} has no Parquet files")
    return pl.concat([pl.read_parquet(file, columns=columns, glob=False) for file in files])
