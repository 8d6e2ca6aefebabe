"""Single small files at addresses: a file is complete or absent."""

import uuid
from pathlib import Path

from openthoughts_dagster.lake.credentials import without_credentials
from openthoughts_dagster.storage.addresses import StorageError, local_path, open_address


def write_object(address: str, data: bytes) -> None:
    """Write `data` to the file at an address, in place of what was there. Raises StorageError."""
    if (path := local_path(address)) is not None:
        return _write_file(path, data)
    with open_address(address, "written") as (system, path_in_store):
        system.pipe_file(path_in_store, data)
    return None


def read_object(address: str) -> bytes | None:
    """Read the file at an address, or return None when there is none. Raises StorageError."""
    if (path := local_path(address)) is not None:
        return path.read_bytes() if path.is_file() else None
    with open_address(address, "read") as (system, path_in_store):
        try:
            return bytes(system.cat_file(path_in_store))
        except FileNotFoundError:
            return None


def _write_file(path: Path, data: bytes) -> None:
    unfinished = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished.write_bytes(data)
        unfinished.rename(path)
    except OSError as error:
        raise StorageError(
            f"{without_credentials(path)}: could not be written: {error}. Give the folder space and permissions"
        ) from error
