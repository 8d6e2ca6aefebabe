"""Single small files at addresses: there as a whole or not at all."""

import uuid
from pathlib import Path

from openthoughts_dagster.lake.credentials import without_credentials
from openthoughts_dagster.storage.addresses import StorageError, local_path, reached


def write_object(address: str, data: bytes) -> None:
    """Make `data` the content of the file at an address. Raises StorageError."""
    if (path := local_path(address)) is not None:
        return _write_file(path, data)
    with reached(address, "written") as (system, path_in_store):
        system.pipe_file(path_in_store, data)
    return None


def read_object(address: str) -> bytes | None:
    """The content of the file at an address; None where there is none. Raises StorageError."""
    if (path := local_path(address)) is not None:
        return path.read_bytes() if path.is_file() else None
    with reached(address, "read") as (system, path_in_store):
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
