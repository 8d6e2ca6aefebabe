"""The doctor's checks of the lake: whether it can be used, is damaged, and belongs to this recipe and instance."""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import polars as pl

from openthoughts_dagster.cli.findings import Finding
from openthoughts_dagster.cli.instance import open_instance
from openthoughts_dagster.defs.asset_entry import AssetEntry
from openthoughts_dagster.defs.catalogue import entries_of
from openthoughts_dagster.defs.recipe_uses import describe_other_recipes
from openthoughts_dagster.defs.settings import Settings, dagster_home
from openthoughts_dagster.lake import TABLES, Lake, LakeError, Table
from openthoughts_dagster.lake.reading import find_path_problem
from openthoughts_dagster.landing import WatchedSources
from openthoughts_dagster.landing.readings import sources_read_otherwise
from openthoughts_dagster.recipe import Recipe
from openthoughts_dagster.storage import Folders, StorageError, local_path

_LITTLE, _NOTHING = 10 * 2**30, 2**30  # bytes
_NAMED = 5  # partitions that a finding names


def check_lake(settings: Settings, read_all: bool) -> Iterator[Finding]:
    """Find out whether the lake can be written, and which of its tables cannot be read.

    Args:
        settings: Has the address of the lake.
        read_all: Whether every file is read. By default only logs, sizes and counts are read.
    """
    problem = _find_lake_problem(settings)
    if problem is not None:
        yield Finding("lake", False, f"{settings.lake}: {problem}; correct OPENTHOUGHTS_LAKE or its credentials")
        return
    rows: dict[str, int] = {}
    for name, table in TABLES.items():
        try:
            rows[name] = _count(settings, table, read_all)
        except LakeError as error:
            yield Finding(f"table {name}", False, str(error))
    new = "" if any(rows.values()) else "; nothing was materialized into it yet"
    says = f"{settings.lake}: {sum(rows.values()):,} rows in {sum(map(bool, rows.values()))} tables{new}"
    yield Finding("lake", True, says)


def check_recipes_of_lake(recipe: Recipe, settings: Settings) -> Iterator[Finding]:
    """Name the other recipes that wrote to the lake."""
    for says in describe_other_recipes(recipe, settings):
        yield Finding("lake", None, says)


def check_materializations(recipe: Recipe, settings: Settings) -> Iterator[Finding]:
    """Find partitions that the instance calls made and that have no rows in the lake of this deployment."""
    home = dagster_home(settings)
    if not home.is_dir():
        return
    with open_instance(settings) as instance:
        for entry in entries_of(recipe):
            lacking = _partitions_without_rows(recipe, settings, instance, entry)
            if not lacking:
                continue
            few = ", ".join(lacking[:_NAMED]) + (f" and {len(lacking) - _NAMED:,} more" * (len(lacking) > _NAMED))
            yield Finding(
                f"asset {entry.name}",
                False,
                f"the instance at {home} says that partitions were made of which {settings.lake} has no rows: {few}. "
                "Correct OPENTHOUGHTS_LAKE or DAGSTER_HOME so that they belong together; where the rows are gone, "
                "materialize these partitions again",
            )


def check_readings(recipe: Recipe, settings: Settings) -> Iterator[Finding]:
    """Name the sources whose rows in the lake were read with other settings than the recipe or the manifest has."""
    lake = Lake(settings.lake)
    landed = [entry.as_source() for entry in WatchedSources(lake).read().values() if entry.present]
    own = {source.name for source in recipe.sources}
    others = sources_read_otherwise(lake, [*recipe.sources, *(each for each in landed if each.name not in own)])
    if others:
        few = ", ".join(others[:_NAMED]) + (f" and {len(others) - _NAMED:,} more" * (len(others) > _NAMED))
        yield Finding(
            "asset raw_sources",
            None,
            f"rows of {few} were read with other settings than they have now, and what was made from them too: the "
            "landing sensor requests them at its next look, or materialize raw_sources of them",
        )


def check_space(what: str, folder: Path) -> Iterator[Finding]:
    """Report how much space the disk of a folder has."""
    free = shutil.disk_usage(_nearest_existing(folder)).free
    says = f"{folder}: {free / 2**30:,.1f} GiB free"
    if free < _NOTHING:
        yield Finding(what, False, f"{says}: runs will fail. Delete something or move it to a larger disk")
    elif free < _LITTLE:
        yield Finding(what, None, f"{says}; students and tables need more soon")
    else:
        yield Finding(what, True, says)


def check_writable(folder: Path) -> None:
    """Write a temporary file in a folder, or in its nearest parent that exists. Raises OSError."""
    place = _nearest_existing(folder)
    if not place.is_dir():
        raise NotADirectoryError(f"{place} is a file, not a folder")
    with tempfile.TemporaryFile(dir=place):
        pass


def _nearest_existing(folder: Path) -> Path:
    return next(path for path in (folder, *folder.parents) if path.exists())


def _find_lake_problem(settings: Settings) -> str | None:
    folder = local_path(settings.lake)
    if folder is None:
        try:
            Folders(settings.cache).try_out(settings.lake)
        except StorageError as error:
            return f"cannot be used: {error}"
        return None
    if any(part.endswith(":") for part in folder.parts):
        return "is a folder of this machine; an address has two slashes, as s3://bucket/lake"
    if problem := find_path_problem(settings.lake):
        return problem
    try:
        check_writable(folder)
    except OSError as error:
        return f"cannot be written: {error}"
    return None


def _count(settings: Settings, table: Table, read_all: bool) -> int:
    lake = Lake(settings.lake)  # a new object has scanned no other table, so damage is in this one
    if read_all:
        lake.check_files(table)
    with lake.named_damage():
        return int(lake.scan(table).select(pl.len()).collect().item())


def _partitions_without_rows(
    recipe: Recipe, settings: Settings, instance: dg.DagsterInstance, entry: AssetEntry
) -> list[str]:
    """List the partitions of an asset that the instance calls made and that have no rows."""
    columns = entry.partitions.columns
    if entry.table is None or not columns:
        return []
    made = instance.get_materialized_partitions(dg.AssetKey(entry.name))
    made &= set(entry.partitions.known(recipe, instance))
    if not made:
        return []
    lake = Lake(settings.lake)
    with lake.named_damage():
        labels = lake.scan(entry.table).select(columns).unique().collect(engine="streaming")
    return sorted(made - {str(entry.partitions.key(row)) for row in labels.iter_rows(named=True)})
