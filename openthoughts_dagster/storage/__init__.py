"""Folders of files, such as checkpoints, on disk or in an object store."""

from openthoughts_dagster.storage.addresses import StorageError, join_address, local_path, open_file_system
from openthoughts_dagster.storage.folders import DEFAULT_CACHE, Folders
from openthoughts_dagster.storage.leftovers import TEMPORARY_PREFIX, Deleted, delete_leftovers, rows_folder
from openthoughts_dagster.storage.locks import hold_file
from openthoughts_dagster.storage.manifest import Manifest

__all__ = [
    "DEFAULT_CACHE",
    "TEMPORARY_PREFIX",
    "Deleted",
    "Folders",
    "Manifest",
    "StorageError",
    "delete_leftovers",
    "hold_file",
    "join_address",
    "local_path",
    "open_file_system",
    "rows_folder",
]
