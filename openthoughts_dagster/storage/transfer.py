"""Transfers between a local disk and the file system of a store."""

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

_FILES_AT_ONCE = 4  # files that are transferred at the same time
_PARTS_AT_ONCE = 3  # parts of one large file, 50 MiB of memory each: the pod that uploads is training meanwhile


def upload_file(system: Any, file: Path, path: str) -> None:
    """Upload one file to a path of a store."""
    protocols = [system.protocol] if isinstance(system.protocol, str) else system.protocol
    system.put_file(str(file), path, **({"max_concurrency": _PARTS_AT_ONCE} if "s3" in protocols else {}))


def remove_file(system: Any, path: str) -> None:
    """Delete a file of a store; another process may have deleted it meanwhile, which not every store takes calmly."""
    with suppress(FileNotFoundError):
        system.rm_file(path)


def find_objects(system: Any, root: str) -> dict[str, Any]:
    """List the objects below a path of a store, with their properties by path."""
    try:
        return dict(system.find(root, detail=True))
    except FileNotFoundError:
        return {}


def run_in_threads(work: Any, items: Iterable[Any]) -> None:
    """Call `work` for every item in a few threads, and raise the first error."""
    with ThreadPoolExecutor(_FILES_AT_ONCE) as threads:
        for done in [threads.submit(work, item) for item in items]:
            done.result()
