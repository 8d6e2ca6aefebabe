"""The record of a version: what it was made from, so that it can be made again and compared."""

import json
import platform
from collections.abc import Collection, Mapping
from datetime import datetime
from functools import cache
from importlib.metadata import distributions, version
from pathlib import Path
from typing import Any

import openthoughts_dagster
from openthoughts_dagster.lake import (
    COMPLETIONS,
    DEDUPED_QUESTIONS,
    RAW_SOURCES,
    REASONING_DATASET,
    REJECTED_RELEASE,
    RELEASE_FUNNEL,
    SCORED_QUESTIONS,
    TEACHER_ANSWERS,
    Lake,
    file_digest,
    text_hash,
    value_hash,
)
from openthoughts_dagster.recipe import Recipe
from openthoughts_dagster.recipe.places import restore_variables

RECORD = "release.json"
TABLES = (
    RAW_SOURCES,
    SCORED_QUESTIONS,
    DEDUPED_QUESTIONS,
    TEACHER_ANSWERS,
    COMPLETIONS,
    REASONING_DATASET,
    REJECTED_RELEASE,
    RELEASE_FUNNEL,
)
"""The tables that a version is made from, and in which its rows stand."""
LIBRARIES = ("polars", "pyarrow", "deltalake", "numpy")
"""The libraries that decide the bytes of the files."""
_SERVER = "https://server.invalid/v1"


def table_versions(lake: Lake) -> dict[str, int | None]:
    """Return the present version of every table that a release is made from; None for one that is not there."""
    return {table.name: lake.version(table) for table in TABLES}


def library_versions() -> dict[str, str]:
    """Return the versions of Python and of the libraries that decide the bytes of the files."""
    return {"python": platform.python_version()} | {name: version(name) for name in LIBRARIES}


def make_record(
    recipe: Recipe,
    teacher: str,
    made_at: datetime,
    tables: Mapping[str, int | None],
    places: Mapping[str, str],
    **more: Any,
) -> dict[str, Any]:
    """Make the record of a version.

    Args:
        recipe: The recipe with its release.
        teacher: The teacher whose answers it has.
        made_at: When it was made, UTC.
        tables: The version of each table.
        places: Names of variables and the addresses that the recipe's text had in their places. The record, which is
            published, has the names, and no address of a model's server.
        **more: Further parts, such as version, rows and files.
    """
    assert recipe.release is not None
    settings = restore_variables(_without_servers(recipe.model_dump(mode="json", exclude={"catalogue"})), places)
    return {
        "name": recipe.release.name,
        "title": recipe.release.title,
        "licence": recipe.release.licence,
        "teacher": teacher,
        "made_at": made_at.isoformat(timespec="seconds"),
        **more,
        "recipe": settings,
        "recipe_hash": value_hash(settings),
        "tables": dict(tables),
        "code": {"version": openthoughts_dagster.__version__, "sources": _code_hash()},
        "libraries": library_versions(),
        "lock": sorted({f"{item.name}=={item.version}" for item in distributions() if item.name}),
    }


def read_record(text: str) -> dict[str, Any]:
    """Read a record from the JSON text that release_versions and release.json have."""
    record = json.loads(text)
    assert isinstance(record, dict)
    return record


def file_digests(folder: Path) -> dict[str, str]:
    """Return the hash of every Parquet file below a folder, by its path there."""
    paths = sorted(folder.rglob("*.parquet"))
    return {path.relative_to(folder).as_posix(): file_digest(path).hex() for path in paths}


def describe_changed_files(folder: Path, record: Mapping[str, Any], others: Collection[str]) -> list[str]:
    """Say which files of a version's folder are not those that were written when it was made.

    Args:
        folder: The folder of the version.
        record: Its record, from the tables.
        others: Names of files that may have any content, because they are written again before they are used.

    Returns:
        A few words for each such file; empty when the folder is as it was made.
    """
    now, then = file_digests(folder), record["files"]
    found = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if not path.is_dir()}
    says = {name: "is missing" for name in then if name not in found}
    says |= {name: "was changed" for name in then if name in found and now[name] != then[name]}
    says |= dict.fromkeys(found - {*then, *others}, "does not belong to it")
    return [f"{name} {what}" for name, what in sorted(says.items())]


@cache
def _code_hash() -> str:
    """Return a hash of this package's own sources, which says more than a version between two releases of it."""
    root = Path(openthoughts_dagster.__file__).parent
    paths = sorted(path for path in root.rglob("*.py") if "__pycache__" not in path.parts)
    return text_hash(*(part for path in paths for part in (path.relative_to(root).as_posix(), file_digest(path).hex())))


def _without_servers(value: Any) -> Any:
    """Replace the addresses of servers, which may be of an inner network."""
    if isinstance(value, Mapping):
        return {
            key: _SERVER if key == "base_url" and inner else _without_servers(inner) for key, inner in value.items()
        }
    return [_without_servers(inner) for inner in value] if isinstance(value, list) else value
