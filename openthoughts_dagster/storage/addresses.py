"""Addresses of folders and files: a path, or an object store address such as s3://bucket/files."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from openthoughts_dagster.lake.credentials import has_credentials, without_credentials


class StorageError(RuntimeError):
    """Files that cannot be read or written: the address, what is wrong, and what to do. Names no credentials."""


def local_path(address: str) -> Path | None:
    """The path of an address on this machine; None for one in an object store."""
    address = address.removeprefix("file://")
    return None if "://" in address else Path(address)


def joined(address: str, *parts: str) -> str:
    """The address of something below another."""
    return "/".join([address.rstrip("/"), *(part.strip("/") for part in parts)])


def open_file_system(address: str) -> tuple[Any, str]:
    """The file system of an address as fsspec has it, and the path in it: the one door to stores of all kinds.

    Raises ImportError that names the extra when the store's package is missing, and what fsspec and the store's own
    library raise. Their messages may repeat keys: hand them on through `without_credentials`.
    """
    try:
        from fsspec.core import url_to_fs

        system, path = url_to_fs(address)
    except ImportError as error:
        raise ImportError(
            f"{error}. For s3:// install the extra: pip install 'openthoughts-dagster[s3]'; for other stores fsspec's "
            "own package, such as gcsfs for gs://"
        ) from None
    return system, str(path)


@contextmanager
def reached(address: str, doing: str) -> Iterator[tuple[Any, str]]:
    """The file system of an address as fsspec has it, and the path in it.

    What goes wrong inside becomes a StorageError "ADDRESS: could not be DOING". Its cause is left out on purpose: the
    store's own message may repeat keys, and Dagster shows the causes of errors in the UI.
    """
    shown = without_credentials(address)
    if has_credentials(address):
        raise StorageError(
            f"{shown}: an address is shown in the UI and must not hold keys: give them as AWS_* variables"
        )
    try:
        system, path = open_file_system(address)
        yield system, path.rstrip("/")
    except StorageError:
        raise
    except ImportError as error:
        raise StorageError(f"{shown}: could not be {doing}: {error}") from None
    except Exception as error:  # every store's library has errors of its own
        says = without_credentials(f"{type(error).__name__}: {error}")[:300]
        raise StorageError(
            f"{shown}: could not be {doing}: {says}. Check the address (OPENTHOUGHTS_FILES, or `model` in the "
            "recipe), that this process has the store's credentials (AWS_* variables or workload identity) with "
            "permission to read, write, list and delete below it, and AWS_ENDPOINT_URL when the store is not Amazon's"
        ) from None
