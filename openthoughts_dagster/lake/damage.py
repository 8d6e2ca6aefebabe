"""Finds the damaged files of a table; the error names the file and says how to recover.

deltalake reads an empty log file as a commit without rows, and a data file that was cut off makes Polars panic. Both
are therefore looked for before a table on a disk is read. Object stores write an object as a whole or not at all, so
their tables are not checked.
"""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import polars as pl
from deltalake import DeltaTable

from openthoughts_dagster.lake.errors import LakeError, table_error

_LOG_REMEDY = (
    "Restore the file from a backup. Without one, stop everything that uses this lake, move this file and those of "
    "higher numbers out of the folder, and materialize again what is missing: rows of those commits are gone"
)
_CHECKPOINT_REMEDY = (
    "Move this file and _last_checkpoint out of the folder: the table is then read from its older log files. Where "
    "these are gone, as Delta deletes them after 30 days, restore the file from a backup"
)
DATA_REMEDY = (
    "Restore the file from a backup, or go back to the table's version before it with DeltaTable(address)"
    ".restore(version) of the Python package deltalake, and materialize again what is missing"
)


def check_log(address: str, version: int) -> None:
    """Refuse a table on a disk when a log file after its last checkpoint is empty.

    Args:
        address: Where the table is; nothing is checked in an object store.
        version: The table's version as it was opened.

    Raises:
        LakeError: Names the file. A disk that was full, or power that failed, leaves such files.
    """
    if "://" in address:
        return
    log = Path(address) / "_delta_log"
    for number in range(_newest_checkpoint(log) + 1, version + 2):
        file = log / f"{number:020}.json"
        if _size_of(file) == 0:
            raise table_error(address, "the table is damaged", f"{file} is empty", _LOG_REMEDY)


def _size_of(file: Path) -> int | None:
    """Return the bytes of a file; None if it is not there, or a checkpoint of another process deletes it meanwhile."""
    try:
        return file.stat().st_size
    except FileNotFoundError:
        return None


def explain_log(address: str) -> LakeError | None:
    """Return an error that names the damaged or missing log file of a table; None when all log files are whole."""
    log = Path(address) / "_delta_log"
    if "://" in address or not log.is_dir():
        return None
    checkpoint = _newest_checkpoint(log)
    if checkpoint >= 0:
        whole = log / f"{checkpoint:020}.checkpoint.parquet"
        for file in list(log.glob(f"{checkpoint:020}.checkpoint*.parquet")) or [whole]:
            if problem := _read_problem(str(file), {}):
                return table_error(address, "the table is damaged", f"{file}: {problem}", _CHECKPOINT_REMEDY)
    commits = {int(path.stem): path for path in log.glob("*.json") if path.stem.isdigit()}
    for number in range(checkpoint + 1, max(commits, default=-1) + 1):
        file = log / f"{number:020}.json"
        if number not in commits:
            return table_error(address, "the table is damaged", f"{file} is missing", _LOG_REMEDY)
        if not _is_json_lines(file):
            return table_error(address, "the table is damaged", f"{file} is empty or cut off", _LOG_REMEDY)
    return None


def check_files(delta: DeltaTable, address: str, partition: Mapping[str, str]) -> None:
    """Refuse a table on a disk when a data file is missing or its size differs from the size in the log.

    Args:
        delta: The table.
        address: Where it is; nothing is checked in an object store.
        partition: Only the files of this partition are checked.

    Raises:
        LakeError: Names the file.
    """
    if "://" in address:
        return
    for path, size in data_files(delta, partition):
        try:
            found = Path(path).stat().st_size
        except FileNotFoundError:
            raise table_error(address, "the table is damaged", f"{path} is missing", DATA_REMEDY) from None
        if found != size:
            says = f"{path} has {found:,} bytes instead of {size:,}"
            raise table_error(address, "the table is damaged", says, DATA_REMEDY)


def data_files(delta: DeltaTable, partition: Mapping[str, str]) -> Iterator[tuple[str, int]]:
    """Yield the path or address and the size in bytes of each data file of a partition."""
    filters = [(column, "=", value) for column, value in partition.items()] or None
    sizes = pl.DataFrame(delta.get_add_actions(flatten=True)).select("path", "size_bytes")
    by_name = {str(path).rsplit("/", 1)[-1]: int(size) for path, size in sizes.iter_rows()}
    for uri in delta.file_uris(file_pruning_predicate=filters):
        yield uri.removeprefix("file://"), by_name[uri.rsplit("/", 1)[-1]]


def damaged_files(delta: DeltaTable, options: Mapping[str, str], partition: Mapping[str, str]) -> Iterator[str]:
    """Read every file of a table and yield those that cannot be read, each with the reason. Slow: it reads all data."""
    for path, _ in data_files(delta, partition):
        if problem := _read_problem(path, options):
            yield f"{path}: {problem}"


def _read_problem(path: str, options: Mapping[str, str]) -> str | None:
    """Read a Parquet file and return why it cannot be read; None when it can."""
    try:
        pl.read_parquet(path, storage_options=dict(options) or None, hive_partitioning=False)
    except BaseException as error:
        if not isinstance(error, Exception) and not is_panic(error):
            raise
        return str(error)
    return None


def is_panic(error: BaseException) -> bool:
    """Return whether an error is a Rust panic, whose class Python code cannot import."""
    return type(error).__name__ == "PanicException"


def _newest_checkpoint(log: Path) -> int:
    """Return the version of the newest checkpoint; -1 when there is none."""
    try:
        last: dict[str, Any] = json.loads((log / "_last_checkpoint").read_text())
        return int(last["version"])
    except (OSError, ValueError, KeyError):
        return -1


def _is_json_lines(file: Path) -> bool:
    try:
        return bool([json.loads(line) for line in file.read_text().splitlines()])
    except (OSError, ValueError):
        return False
