"""A landing zone that is a prefix of an object store, and single objects of a store."""

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from openthoughts_dagster.lake.credentials import without_credentials
from openthoughts_dagster.landing.content_hashes import ContentHashes
from openthoughts_dagster.landing.landed_files import (
    MOST_FILES,
    Files,
    LandedFolder,
    LandingError,
    Stamp,
    escape_name,
    find_problem,
    report_loose_files,
)
from openthoughts_dagster.storage import open_file_system


class ObjectStoreZone:
    """A landing zone at a prefix of any object store that fsspec knows.

    The store's library takes credentials from the environment. The content of an object is identified by the store's
    own checksum (ETag).
    """

    def __init__(self, address: str) -> None:
        self.address = address.rstrip("/")

    def scan(self) -> dict[str, LandedFolder]:
        def look(store: Any, root: str) -> dict[str, LandedFolder]:
            store.invalidate_cache()
            found: dict[str, Files] = {}
            loose: list[str] = []
            for path, info in store.find(root, detail=True).items():
                name, _, file = path.removeprefix(root).lstrip("/").partition("/")
                if not file and not path.endswith("/"):
                    loose.append(name)
                files = found.setdefault(escape_name(name), {}) if file and not file.endswith("/") else {}
                if len(files) <= MOST_FILES:
                    files[file] = Stamp(_checksum(store, path, info), int(info["size"]))
            folders = {name: LandedFolder(files, find_problem(files)) for name, files in sorted(found.items())}
            return report_loose_files(loose) | folders

        return self._run(look)

    def read(self, name: str, file: str, most: int) -> bytes:
        return self._run(lambda store, root: store.cat_file(f"{root}/{name}/{file}", end=most))

    def content(self, name: str, file: str, stamp: Stamp, hashes: ContentHashes) -> str:
        return stamp.token

    def write(self, name: str, files: Mapping[str, Path | bytes]) -> None:
        def put(store: Any, root: str) -> None:
            for file, content in files.items():
                if isinstance(content, Path):
                    store.put_file(str(content), f"{root}/{name}/{file}")
                else:
                    store.pipe_file(f"{root}/{name}/{file}", content)

        self._run(put)

    def remove(self, name: str, files: Collection[str]) -> None:
        def delete(store: Any, root: str) -> None:
            store.invalidate_cache()
            for file in files:
                if store.exists(path := f"{root}/{name}/{file}"):
                    store.rm_file(path)

        self._run(delete)

    def _run(self, work: Any) -> Any:
        return run_in_store(self.address, f"the landing zone {self.address}", work)


def list_objects(address: str) -> Files:
    """List the objects that an address or a glob names, by address. Raises LandingError."""

    def look(store: Any, root: str) -> Files:
        store.invalidate_cache()
        found = store.glob(root, detail=True)
        return {
            store.unstrip_protocol(path): Stamp(_checksum(store, path, info), int(info["size"]))
            for path, info in sorted(found.items())
            if info["type"] == "file"
        }

    return run_in_store(address, address, look)


def run_in_store(address: str, what: str, work: Any) -> Any:
    """Call `work` with the store and the path of an address. Every error becomes a LandingError about `what`."""
    try:
        store, root = open_file_system(address)
        return work(store, root.rstrip("/"))
    except Exception as error:  # the libraries of stores share no error class
        says = f"{without_credentials(what)} cannot be used: {type(error).__name__}: {without_credentials(error)[:200]}"
        raise LandingError(
            f"{says}; check that it exists, and that this process has credentials for it and a network"
        ) from None  # the store's own message may repeat keys


def _checksum(store: Any, path: str, info: dict[str, Any]) -> str:
    for name in ("ETag", "etag", "md5Hash", "content_md5"):
        if info.get(name):
            return str(info[name]).strip('"')
    return str(store.checksum(path))
