"""Where sources land: a folder or an object store prefix, with one subfolder for each source."""

import hashlib
import os
import shutil
import stat
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import IO, Any, Protocol

from openthoughts_dagster.lake import text_hash
from openthoughts_dagster.lake.credentials import without_credentials
from openthoughts_dagster.lake.unicode import has_lone_surrogate
from openthoughts_dagster.sources.confined import open_inside
from openthoughts_dagster.storage import open_file_system

Files = dict[str, "Stamp"]

MOST_FILES = 10_000  # of one source
_DEEPEST = 20  # folders below a source's own
_MOST_SOURCES = 100_000
_WHOLE = 2**30
_BLOCK, _BLOCKS = 2**20, 64


class LandingError(RuntimeError):
    """A landing zone that cannot be looked at: which, why, and what to do."""


@dataclass(frozen=True)
class Stamp:
    """What changes when a file does: a token of its state, and its size in bytes. `link` when it is a symbolic link."""

    token: str
    size: int
    link: bool = False


@dataclass(frozen=True)
class LandedFolder:
    """The files of one source by their path in its folder; `problem` says why none of them may be read."""

    files: Files
    problem: str = ""


def signature(files: Files) -> str:
    """One text for the state of all files, without reading them."""
    return text_hash(*(f"{name}\0{stamp.token}\0{stamp.size}" for name, stamp in sorted(files.items())))


class LandingZone(Protocol):
    """A landing zone. Every method raises LandingError when it cannot be reached."""

    address: str

    def scan(self) -> dict[str, LandedFolder]:
        """The files of every subfolder; contents are not read. What is wrong with one subfolder is said in it."""

    def read(self, name: str, file: str, most: int) -> bytes:
        """The first `most` bytes of a file."""

    def content(self, name: str, file: str, stamp: Stamp) -> str:
        """What identifies the file's content: equal for equal contents."""

    def write(self, name: str, files: Mapping[str, Path | bytes]) -> None:
        """Put a source there, file by file in this order."""

    def remove(self, name: str, files: Collection[str]) -> None:
        """Delete files of a source; those that are not there are passed over."""


def open_landing_zone(address: str) -> LandingZone:
    """The landing zone at a folder or an address such as s3://bucket/landing."""
    local = address.removeprefix("file://")
    return ObjectStoreZone(local) if "://" in local else FolderZone(local)


class FolderZone:
    """A folder. A file's time of change says when to look again, its content whether it is another."""

    def __init__(self, address: str) -> None:
        self.address = address

    def scan(self) -> dict[str, LandedFolder]:
        try:
            with os.scandir(self.address) as entries:
                folders = sorted(
                    (entry for entry in entries if entry.name[0] != "." and _is_folder(entry)),
                    key=lambda entry: entry.name,
                )
        except OSError as error:
            raise self._unreachable(error) from error
        return {_storable(folder.name): _landed_folder(folder) for folder in folders[:_MOST_SOURCES]}

    def read(self, name: str, file: str, most: int) -> bytes:
        try:
            with open_inside(Path(self.address) / name, file) as opened:
                return opened.read(most)
        except OSError as error:
            raise LandingError(f"{file} cannot be read: {error.strerror}") from error

    def content(self, name: str, file: str, stamp: Stamp) -> str:
        try:
            return _inside_content(self.address, name, file, stamp)
        except OSError as error:
            raise LandingError(f"{file} cannot be read: {error.strerror}") from error

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
            raise LandingError(f"the landing zone {self.address} cannot be written: {error}") from error

    def remove(self, name: str, files: Collection[str]) -> None:
        try:
            for file in files:
                (Path(self.address) / name / file).unlink(missing_ok=True)
        except OSError as error:
            raise LandingError(f"the landing zone {self.address} cannot be written: {error}") from error

    def _unreachable(self, error: OSError) -> LandingError:
        return LandingError(
            f"the landing zone {self.address} cannot be read: {error}; see that it is there and mounted"
        )


class ObjectStoreZone:
    """A prefix of an object store that fsspec knows; credentials come from the environment, as its library takes them.

    The store's own checksum of an object (ETag) is its content.
    """

    def __init__(self, address: str) -> None:
        self.address = address.rstrip("/")

    def scan(self) -> dict[str, LandedFolder]:
        def look(store: Any, root: str) -> dict[str, LandedFolder]:
            store.invalidate_cache()
            found: dict[str, Files] = {}
            for path, info in store.find(root, detail=True).items():
                name, _, file = path.removeprefix(root).lstrip("/").partition("/")
                files = found.setdefault(_storable(name), {}) if file and not file.endswith("/") else {}
                if len(files) <= MOST_FILES:
                    files[file] = Stamp(_checksum(store, path, info), int(info["size"]))
            return {name: LandedFolder(files, _files_problem(files)) for name, files in sorted(found.items())}

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

    def remove(self, name: str, files: Collection[str]) -> None:
        def delete(store: Any, root: str) -> None:
            store.invalidate_cache()
            for file in files:
                if store.exists(path := f"{root}/{name}/{file}"):
                    store.rm_file(path)

        self._try(delete)

    def _try(self, work: Any) -> Any:
        return _in_store(self.address, f"the landing zone {self.address}", work)


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
    try:
        store, root = open_file_system(address)
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
    with open(path, "rb") as file:  # noqa: PTH123 - a path of the file system, already whole
        return _content_hash(file, stamp)


@lru_cache(maxsize=100_000)
def _inside_content(zone: str, name: str, file: str, stamp: Stamp) -> str:
    """The same hash of a landed file, which is opened without following links."""
    with open_inside(Path(zone) / name, file) as opened:
        return _content_hash(opened, stamp)


def _content_hash(file: IO[bytes], stamp: Stamp) -> str:
    digest = hashlib.blake2b(str(stamp.size).encode(), digest_size=16)
    if stamp.size <= _WHOLE:
        digest.update(hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).digest())  # type: ignore[arg-type]
        return digest.hexdigest()
    digest.update(stamp.token.encode())
    for block in range(_BLOCKS):
        file.seek(block * (stamp.size - _BLOCK) // (_BLOCKS - 1))
        digest.update(file.read(_BLOCK))
    return digest.hexdigest()


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:
        return entry.is_symlink()  # a link to itself, or to where this process may not look


def _landed_folder(folder: os.DirEntry[str]) -> LandedFolder:
    """The regular files of a source's folder. Whatever is wrong with this folder is said in it, and in no other."""
    if has_lone_surrogate(folder.name):
        return LandedFolder({}, "the folder's name is not UTF-8: rename it")
    if folder.is_symlink():
        return LandedFolder({}, "is a symbolic link, which may lead elsewhere: copy the folder itself")
    files: Files = {}
    waiting = [(folder.path, "", 0)]
    while waiting:
        path, below, depth = waiting.pop()
        try:
            with os.scandir(path) as entries:
                for entry in entries:
                    status = entry.stat(follow_symlinks=False)
                    if stat.S_ISDIR(status.st_mode):
                        if depth == _DEEPEST:
                            return LandedFolder(files, f"has folders more than {_DEEPEST} levels deep: flatten it")
                        waiting.append((entry.path, f"{below}{entry.name}/", depth + 1))
                    elif stat.S_ISREG(status.st_mode) or stat.S_ISLNK(status.st_mode):
                        files[f"{below}{entry.name}"] = _stamp(status, stat.S_ISLNK(status.st_mode))
                    else:
                        return LandedFolder(files, f"{below}{entry.name} is no regular file: remove it")
                    if len(files) > MOST_FILES:
                        return LandedFolder(files, _files_problem(files))
        except FileNotFoundError:
            continue  # an upload renamed something just now
        except OSError as error:
            return LandedFolder(files, f"{below or 'its folder'} cannot be read: {error.strerror}; grant permission")
    return LandedFolder(files, _files_problem(files))


def _files_problem(files: Files) -> str:
    if len(files) > MOST_FILES:
        return f"has more than {MOST_FILES:,} files: pack them into fewer"
    if odd := next((name for name in files if has_lone_surrogate(name)), None):
        return f"has a file whose name is not UTF-8, {_storable(odd)}: rename it"
    return ""


def _storable(name: str) -> str:
    """A file's name as text that a table can hold: bytes that are not UTF-8 are escaped."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def _stamp(status: os.stat_result, link: bool) -> Stamp:
    """The time of change is part of it: unlike the modified time, who writes a file cannot set it back."""
    return Stamp(f"{status.st_ino}:{status.st_mtime_ns}:{status.st_ctime_ns}", status.st_size, link)


def _checksum(store: Any, path: str, info: dict[str, Any]) -> str:
    for name in ("ETag", "etag", "md5Hash", "content_md5"):
        if info.get(name):
            return str(info[name]).strip('"')
    return str(store.checksum(path))
