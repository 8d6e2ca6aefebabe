"""Deletes what killed processes left behind, and what steps of ended runs handed on."""

import os
import re
import shutil
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from openthoughts_dagster.storage.addresses import local_path, open_address
from openthoughts_dagster.storage.locks import hold_file

TEMPORARY_PREFIX = "openthoughts-"
"""How the names of our folders for temporary files begin."""

_ROWS_PREFIX = "rows-"

UNFINISHED_DAYS = 7
STEP_OUTPUT_DAYS = 30
_UNFINISHED_COPY = re.compile(r"\..+\.[0-9a-f]{32}")
_DAY = 24 * 3600


@dataclass(frozen=True)
class Deleted:
    """How many leftovers of one kind were deleted, and their bytes."""

    what: str
    count: int
    bytes: int


def delete_leftovers(data: Path, cache: Path, step_outputs: str, now: float | None = None) -> list[Deleted]:
    """Delete leftovers that nothing has changed for a week, and step outputs that are older than 30 days.

    What a running process uses is kept: it changes its files, or holds the lock of its folder.

    Args:
        data: The folder of this machine, with staged rows in `staging` and folders that `rows_folder` gave.
        cache: The folder with copies of models.
        step_outputs: The address with one folder for each run.
        now: The present time in seconds; by default the clock says it.

    Returns:
        An entry for each kind: temporary folders, staged rows, rows of trainings, unfinished copies and step outputs.

    Raises:
        StorageError: The step outputs cannot be listed or deleted.
    """
    now = time.time() if now is None else now
    unfinished = now - UNFINISHED_DAYS * _DAY
    temporary = Path(tempfile.gettempdir()).glob(f"{TEMPORARY_PREFIX}*")
    staged = (path for path in (data / "staging").glob("*") if path.is_dir())
    return [
        _delete("temporary folders", temporary, unfinished),
        _delete("staged rows", staged, unfinished),
        _delete("rows of trainings", (path for path in data.glob(f"{_ROWS_PREFIX}*") if path.is_dir()), unfinished),
        _delete("unfinished copies", _unfinished_copies(cache), unfinished),
        _delete_runs(step_outputs, now - STEP_OUTPUT_DAYS * _DAY),
    ]


@contextmanager
def rows_folder(data: Path) -> Iterator[Path]:
    """Give a folder for the rows of a training, which a training that is killed leaves to `delete_leftovers`.

    Args:
        data: The folder of this machine.
    """
    data.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=_ROWS_PREFIX, dir=data) as name, hold_file(Path(f"{name}.lock")):
        yield Path(name)


def _delete(what: str, paths: Iterable[Path], before: float) -> Deleted:
    """Delete the paths whose newest file is from before a time, unless another process has locked or owns them."""
    count, size = 0, 0
    for path in list(paths):
        try:
            if _newest(path) >= before or path.stat().st_uid != os.getuid():
                continue
            with hold_file(path.with_name(f"{path.name}.lock"), _leave):
                own = sum(file.lstat().st_size for file in [path, *path.rglob("*")] if not file.is_dir())
                shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
        except OSError:  # another process uses it or deletes it as well, or we may not
            continue
        count, size = count + 1, size + own
    return Deleted(what, count, size)


def _leave() -> None:
    raise BlockingIOError


def _newest(path: Path) -> float:
    return max(file.lstat().st_mtime for file in [path, *path.rglob("*")])


def _unfinished_copies(cache: Path) -> Iterator[Path]:
    for folder, names, files in os.walk(cache):
        found = [name for name in (*names, *files) if _UNFINISHED_COPY.fullmatch(name)]
        names[:] = [name for name in names if name not in found]
        yield from (Path(folder) / name for name in found)


def _delete_runs(address: str, before: float) -> Deleted:
    what = "step outputs of runs"
    if (folder := local_path(address)) is not None:
        return _delete(what, (path for path in folder.glob("*") if path.is_dir()), before)
    with open_address(address, "cleaned") as (system, root):
        runs: dict[str, list[tuple[str, dict[str, Any]]]] = {}
        found = system.find(root, detail=True) if system.exists(root) else {}
        for path, info in found.items():
            runs.setdefault(path.removeprefix(f"{root}/").partition("/")[0], []).append((path, info))
        old = [files for files in runs.values() if max(_changed(info) for _, info in files) < before]
        for files in old:
            with suppress(FileNotFoundError):  # maintenance of another process deletes them as well
                system.rm([path for path, _ in files])
    return Deleted(what, len(old), sum(int(info.get("size") or 0) for files in old for _, info in files))


def _changed(info: dict[str, Any]) -> float:
    """Return when a file of a store was changed; the present if the store does not say it."""
    changed = info.get("LastModified") or info.get("last_modified") or info.get("mtime")
    if isinstance(changed, datetime):
        return changed.timestamp()
    return float(changed) if isinstance(changed, int | float) else time.time()
