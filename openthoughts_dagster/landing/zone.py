"""Where sources land: a folder or an object store prefix, with one subfolder for each source."""

import hashlib
import os
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol

from openthoughts_dagster.lake import text_hash
from openthoughts_dagster.lake.credentials import without_credentials

Files = dict[str, "Stamp"]

_WHOLE = 2**30
_BLOCK, _BLOCKS = 2**20, 64


class LandingError(RuntimeError):
    """A landing place that cannot be looked at: which, why, and what to do."""


@dataclass(frozen=True)
class Stamp:
    """What changes when a file does: a token of its state, and its size in bytes. `link` when it is a symbolic link."""

    token: str
    size: int
    link: bool = False


def signature(files: Files) -> str:
    """One text for the state of all files, without reading them."""
    return text_hash(*(f"{name}\0{stamp.token}\0{stamp.size}" for name, stamp in sorted(files.items())))


class LandingZone(Protocol):
    """A landing place. Every method raises LandingError when it cannot be reached."""

    address: str

    def scan(self) -> dict[str, Files]:
        """The files of every subfolder by their path in it; contents are not read."""

    def read(self, name: str, file: str, most: int) -> bytes:
        """The first `most` bytes of a file."""

    def content(self, name: str, file: str, stamp: Stamp) -> str:
        """What identifies the file's content: equal for equal contents."""

    def write(self, name: str, files: Mapping[str, Path | bytes]) -> None:
        """Put a source there, file by file in this order."""


def open_landing_zone(address: str) -> LandingZone:
    """The landing place at a folder or an address such as s3://bucket/landing."""
    local = address.removeprefix("file://")
    return ObjectStoreZone(local) if "://" in local else FolderZone(local)


class FolderZone:
    """A folder. A file's time of change says when to look again, its content whether it is another."""

    def __init__(self, address: str) -> None:
        self.address = address

    def scan(self) -> dict[str, Files]:
        try:
            folders = sorted((entry for entry in os.scandir(self.address) if entry.is_dir()), key=lambda e: e.name)
            return {folder.name: dict(_files(folder.path, "")) for folder in folders if folder.name[0] != "."}
        except OSError as error:
            raise self._unreachable(error) from error

    def read(self, name: str, file: str, most: int) -> bytes:
        try:
            with (Path(self.address) / name / file).open("rb") as opened:
                return opened.read(most)
        except OSError as error:
            raise self._unreachable(error) from error

    def content(self, name: str, file: str, stamp: Stamp) -> str:
        try:
            return file_content(str(Path(self.address) / name / file), stamp)
        except OSError as error:
            raise self._unreachable(error) from error

    def write(self, name: str, files: Mapping[str, Path | bytes]) -> None:
        folder = Path(self.address) / name
        try:
            folder.mkdir(parents=True, exist_ok=True)
            for file, content in files.items():
                if isinstance(content, Path):
                    shutil.copyfile(content, folder / file)
                else:
                    (folder / file).write_bytes(content)
        except OSError as error:
            raise LandingError(f"the landing place {self.address} cannot be written: {error}") from error

    def _unreachable(self, error: OSError) -> LandingError:
        return LandingError(
            f"the landing place {self.address} cannot be read: {error}; see that it is there and mounted"
        )


class ObjectStoreZone:
    """A prefix of an object store that fsspec knows; credentials come from the environment, as its library takes them.

    The store's own checksum of an object (ETag) is its content.
    """

    def __init__(self, address: str) -> None:
        self.address = address.rstrip("/")

    def scan(self) -> dict[str, Files]:
        def look(store: Any, root: str) -> dict[str, Files]:
            store.invalidate_cache()
            found: dict[str, Files] = {}
            for path, info in store.find(root, detail=True).items():
                name, _, file = path.removeprefix(root).lstrip("/").partition("/")
                if file and not file.endswith("/"):
                    found.setdefault(name, {})[file] = Stamp(_checksum(store, path, info), int(info["size"]))
            return dict(sorted(found.items()))

        return self._try(look)

    def read(self, name: str, file: str, most: int) -> bytes:
        return self._try(lambda store, root: store.cat_file(f"{root}/{name}/{file}", end=most))

    def content(self, name: str, file: str, stamp: Stamp) -> str:
        return stamp.token

    def write(self, name: str, files: Mapping[str, Path | bytes]) -> None:
        def put(store: Any, root: str) -> None:
            for file, content in files.items():
                if isinstance(content, Path):
                    store.put_file(str(content), f"{root}/{name}/{file}")
                else:
                    store.pipe_file(f"{root}/{name}/{file}", content)

        self._try(put)

    def _try(self, work: Any) -> Any:
        return _in_store(self.address, f"the landing place {self.address}", work)


def objects(address: str) -> Files:
    """The objects that an address or a glob stands for, by address. Raises LandingError."""

    def look(store: Any, root: str) -> Files:
        store.invalidate_cache()
        found = {path: store.info(path) for path in store.glob(root)}
        return {
            store.unstrip_protocol(path): Stamp(_checksum(store, path, info), int(info["size"]))
            for path, info in sorted(found.items())
            if info["type"] == "file"
        }

    return _in_store(address, address, look)


def _in_store(address: str, what: str, work: Any) -> Any:
    from fsspec.core import url_to_fs

    try:
        store, root = url_to_fs(address)
        return work(store, root.rstrip("/"))
    except Exception as error:  # each store's library has errors of its own
        says = f"{without_credentials(what)} cannot be used: {type(error).__name__}: {without_credentials(error)[:200]}"
        raise LandingError(
            f"{says}; is it there, and has this process its credentials and network?"
        ) from None  # the store's own message may repeat keys


def stamp_of(path: Path) -> Stamp:
    """The state of a local file, or of the file that a link leads to."""
    return _stamp(path.stat(), link=False)


@lru_cache(maxsize=100_000)
def file_content(path: str, stamp: Stamp) -> str:
    """Hash of a local file; kept while its stamp is the same.

    Above a gigabyte blocks all over the file are read, not all of it, and the stamp counts too: a sensor has a minute.
    """
    digest = hashlib.blake2b(str(stamp.size).encode(), digest_size=16)
    with open(path, "rb") as file:  # noqa: PTH123 - a path of the file system, already whole
        if stamp.size <= _WHOLE:
            digest.update(hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).digest())
            return digest.hexdigest()
        digest.update(stamp.token.encode())
        for block in range(_BLOCKS):
            file.seek(block * (stamp.size - _BLOCK) // (_BLOCKS - 1))
            digest.update(file.read(_BLOCK))
    return digest.hexdigest()


def _files(folder: str, below: str) -> Iterator[tuple[str, Stamp]]:
    for entry in os.scandir(folder):
        if entry.is_dir(follow_symlinks=False):
            yield from _files(entry.path, f"{below}{entry.name}/")
        else:
            try:
                yield f"{below}{entry.name}", _stamp(entry.stat(follow_symlinks=False), entry.is_symlink())
            except FileNotFoundError:
                continue  # an upload renamed it just now


def _stamp(status: os.stat_result, link: bool) -> Stamp:
    """The time of change is part of it: unlike the modified time, who writes a file cannot set it back."""
    return Stamp(f"{status.st_ino}:{status.st_mtime_ns}:{status.st_ctime_ns}", status.st_size, link)


def _checksum(store: Any, path: str, info: dict[str, Any]) -> str:
    for name in ("ETag", "etag", "md5Hash", "content_md5"):
        if info.get(name):
            return str(info[name]).strip('"')
    return str(store.checksum(path))
