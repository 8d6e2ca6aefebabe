"""Addresses of folders and files: a path, or an object store address such as s3://bucket/files."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from openthoughts_dagster.lake.credentials import has_credentials, without_credentials


class StorageError(RuntimeError):
    """Files cannot be read or written.

    The message names the address, what is wrong and what to do. It holds no credentials.
    """


def local_path(address: str) -> Path | None:
    """Return the path of an address on this machine, or None for an address in an object store."""
    address = address.removeprefix("file://")
    return None if "://" in address else Path(address)


def join_address(address: str, *parts: str) -> str:
    """Append parts to an address, separated by slashes."""
    return "/".join([address.rstrip("/"), *(part.strip("/") for part in parts)])


def open_file_system(address: str) -> tuple[Any, str]:
    """Open the fsspec file system of an address. All access to stores goes through this function.

    Args:
        address: A path, or an address of any protocol that fsspec knows.

    Returns:
        The file system, and the path of the address in it.

    Raises:
        ImportError: The store's package is missing; the message names the extra to install.
        Exception: Whatever fsspec and the store's own library raise. Their messages may repeat keys, so pass them on
            through `without_credentials` only.
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
def open_address(address: str, doing: str) -> Iterator[tuple[Any, str]]:
    """Open the file system of an address, and turn every error of the block into a StorageError.

    The error has no cause on purpose: the store's own message may repeat keys, and Dagster shows the causes of errors
    in the UI.

    Args:
        address: An address without credentials.
        doing: A participle such as "written". The message then says "ADDRESS: could not be written".

    Yields:
        The file system, and the path of the address in it.
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
    except Exception as error:  # the libraries of stores share no error class
        says = without_credentials(f"{type(error).__name__}: {error}")[:300]
        raise StorageError(
            f"{shown}: could not be {doing}: {says}. Check the address (OPENTHOUGHTS_FILES, or `model` in the "
            "recipe), that this process has the store's credentials (AWS_* variables or workload identity) with "
            "permission to read, write, list and delete below it, and AWS_ENDPOINT_URL when the store is not Amazon's"
        ) from None
