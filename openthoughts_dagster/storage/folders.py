"""Folders at addresses: put there complete or not at all, and fetched once for each content.

A folder at A consists of A/manifest.json, which is written last and names every file with size and hash, and of the
files below A/HASH/, HASH being that of all of them. So readers see the old folder or the new, and two processes that
put different files at one address do not mix.
"""

import fcntl
import os
import shutil
import uuid
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from openthoughts_dagster.lake import file_digest
from openthoughts_dagster.lake.credentials import without_credentials
from openthoughts_dagster.storage.addresses import StorageError, joined, local_path, reached
from openthoughts_dagster.storage.manifest import NAME, Manifest

DEFAULT_CACHE = Path("~/.cache/openthoughts")
_AT_ONCE = 4
_PARTS_AT_ONCE = 3  # of each large file, 50 MiB each in memory: the pod that uploads is training meanwhile
_WEIGHTS = (".safetensors", ".bin", ".pt", ".pth", ".gguf", ".h5", ".msgpack", ".onnx")


class Folders:
    """Folders at addresses, with copies of what was fetched below `cache`.

    A path on this machine is its own address: nothing is copied from it, and no manifest is written to it.
    Every method raises StorageError.
    """

    def __init__(self, cache: Path = DEFAULT_CACHE) -> None:
        self.cache = cache.expanduser()

    def put(self, folder: Path, address: str, replace: bool = False) -> Manifest:
        """Make the files of `folder` those at `address`; returns the manifest that holds there afterwards.

        Unless `replace`, what is complete there already stays: of several processes that put, the first wins. Files
        that an interrupted put left are not sent again.
        """
        manifest = Manifest.of(folder)
        if not manifest.files:
            raise StorageError(f"{folder}: an empty folder cannot be put at {without_credentials(address)}")
        if (there := self.manifest(address)) is not None and (not replace or there.content == manifest.content):
            return there
        with reached(address, "written") as (system, root):
            body = f"{root}/{manifest.content}"
            system.invalidate_cache(body)
            sent = {path: info["size"] for path, info in _listed(system, body).items()}
            wanted = {name: f"{body}/{name}" for name in manifest.files}
            _each(
                lambda name: _send(system, folder / name, wanted[name]),
                (name for name, entry in manifest.files.items() if sent.get(wanted[name]) != entry.size),
            )
            try:
                system.pipe_file(f"{root}/{NAME}", manifest.to_json(), mode="overwrite" if replace else "create")
            except FileExistsError:
                first = self.manifest(address)
                assert first is not None
                return first
        return manifest

    def manifest(self, address: str) -> Manifest | None:
        """What the folder at an address consists of; None where none was completed."""
        with reached(address, "read") as (system, root):
            try:
                return Manifest.from_json(system.cat_file(f"{root}/{NAME}"))
            except FileNotFoundError:
                return None
            except (ValueError, KeyError, TypeError) as error:
                raise StorageError(
                    f"{without_credentials(address)}: its {NAME} is not one of ours: {error}. Delete the folder and "
                    "make it again"
                ) from None

    def complete(self, address: str) -> Manifest:
        """The manifest at an address, where a folder has to be."""
        manifest = self.manifest(address)
        if manifest is None:
            raise StorageError(
                f"{without_credentials(address)}: there is no complete folder (no {NAME}). Materialize the asset that "
                "makes it, correct the address, or put a folder of yours there: openthoughts files put FOLDER ADDRESS"
            )
        return manifest

    def listed(self, address: str) -> list[str]:
        """The files of the folder at an address by their path in it; none where no folder is complete."""
        if (path := local_path(address)) is not None:
            return sorted(p.relative_to(path).as_posix() for p in path.rglob("*") if p.is_file())
        manifest = self.manifest(address)
        return [] if manifest is None else sorted(manifest.files)

    def fetch(self, address: str, weights: bool = True, manifest: Manifest | None = None) -> Path:
        """A local folder with the files at `address`; without `weights` the small ones only, such as a tokenizer's.

        `manifest`, when given, is the one of `complete`, and what it names is fetched, whatever holds there by now.
        """
        if (path := local_path(address)) is not None:
            return path
        manifest = manifest or self.complete(address)
        full = self.cache / "folders" / manifest.content
        if full.is_dir():
            return full
        names = [name for name in manifest.files if weights or not name.endswith(_WEIGHTS)]
        target = full if len(names) == len(manifest.files) else full.with_name(f"{manifest.content}.light")
        with self._alone(target, address):
            if not target.is_dir():
                self._download(address, manifest.content, manifest.some(names), target)
        return target

    def read(self, address: str, name: str) -> bytes:
        """One small file of the folder at an address."""
        if (path := local_path(address)) is not None:
            return (path / name).read_bytes()
        manifest = self.complete(address)
        with reached(address, "read") as (system, root):
            return bytes(system.cat_file(f"{root}/{manifest.content}/{name}"))

    def names(self, address: str) -> list[str]:
        """Names of the complete folders right below an address."""
        with reached(address, "listed") as (system, root):
            system.invalidate_cache(root)
            found = [path.removeprefix(f"{root}/").split("/") for path in _listed(system, root)]
        return sorted(parts[0] for parts in found if len(parts) == 2 and parts[1] == NAME)

    def remove(self, address: str) -> None:
        """Delete everything at and below an address: manifests first, so that no reader sees half a folder."""
        with reached(address, "deleted") as (system, root):
            system.invalidate_cache(root)
            paths = list(_listed(system, root))
            manifests = [path for path in paths if path.endswith(f"/{NAME}")]
            for part in (manifests, [path for path in paths if path not in set(manifests)]):
                _each(system.rm_file, part)

    def try_out(self, address: str) -> None:
        """Write, list, read and delete one small object below an address, and see that a second one is refused."""
        name = f"tried-{uuid.uuid4().hex}"
        with reached(address, "used") as (system, root):
            system.pipe_file(f"{root}/{name}/file", b"1")
            system.invalidate_cache(root)
            if list(_listed(system, f"{root}/{name}")) != [f"{root}/{name}/file"]:
                raise StorageError(f"{without_credentials(address)}: what was written is not listed")
            try:
                system.pipe_file(f"{root}/{name}/file", b"2", mode="create")
            except FileExistsError:
                overwrites = False
            else:
                overwrites = system.cat_file(f"{root}/{name}/file") != b"1"
            system.rm_file(f"{root}/{name}/file")
        if overwrites:
            raise StorageError(
                f"{without_credentials(address)}: the store ignores conditional writes (If-None-Match), and several "
                "processes that commit to one table would lose rows: update it, or use one that has them"
            )

    def put_files(self, folder: Path, files: Iterable[Path], address: str) -> list[str]:
        """Copies of files below `folder` at the same places below `address`; returns their addresses.

        For files that nobody reads back as a whole, such as reports. On this machine nothing is copied when the folder
        is the address.
        """
        names = [path.relative_to(folder).as_posix() for path in files]
        if local_path(address) == folder:
            return [str(folder / name) for name in names]
        with reached(address, "written") as (system, root):
            _each(lambda name: _send(system, folder / name, f"{root}/{name}"), names)
        return [joined(address, name) for name in names]

    def _download(self, address: str, content: str, manifest: Manifest, target: Path) -> None:
        free = shutil.disk_usage(self.cache).free
        if free < manifest.size:
            raise StorageError(
                f"{without_credentials(address)}: its {manifest.size / 2**30:,.1f} GiB do not fit into {self.cache}, "
                f"which has {free / 2**30:,.1f} GiB free: give the step more disk (`disk` of the model's hardware)"
            )
        unfinished = target.with_name(f".{target.name}.{uuid.uuid4().hex}")
        try:
            for name in manifest.files:
                (unfinished / name).parent.mkdir(parents=True, exist_ok=True)
            with reached(address, "fetched") as (system, root):

                def fetch(name: str) -> None:
                    system.get_file(f"{root}/{content}/{name}", str(unfinished / name))
                    self._verify(address, manifest, unfinished, name)

                _each(fetch, manifest.files)
            unfinished.rename(target)
        finally:
            shutil.rmtree(unfinished, ignore_errors=True)

    @staticmethod
    def _verify(address: str, manifest: Manifest, folder: Path, name: str) -> None:
        if file_digest(folder / name).hex() != manifest.files[name].digest:
            raise StorageError(
                f"{without_credentials(address)}: {name} is not the file that was put there: it was changed or cut off "
                "in the store. Delete the folder and make it again"
            )

    @contextmanager
    def _alone(self, target: Path, address: str) -> Iterator[None]:
        """Hold the cache entry: another process of this machine that wants it waits, and finds it."""
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            lock = os.open(target.with_name(f".{target.name}.lock"), os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise StorageError(
                f"{without_credentials(address)}: the copy cannot be kept in {self.cache}: {error}. Make "
                "OPENTHOUGHTS_DATA a folder that this process can write"
            ) from error
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
        finally:
            os.close(lock)


def _send(system: Any, file: Path, path: str) -> None:
    protocols = [system.protocol] if isinstance(system.protocol, str) else system.protocol
    system.put_file(str(file), path, **({"max_concurrency": _PARTS_AT_ONCE} if "s3" in protocols else {}))


def _listed(system: Any, root: str) -> dict[str, Any]:
    try:
        return dict(system.find(root, detail=True))
    except FileNotFoundError:
        return {}


def _each(work: Any, items: Iterable[Any]) -> None:
    """Some at a time; raises the first error."""
    with ThreadPoolExecutor(_AT_ONCE) as threads:
        for done in [threads.submit(work, item) for item in items]:
            done.result()
