"""Folders at addresses: a folder is complete or absent, and each content is fetched once.

A folder at the address A consists of the files below A/HASH/, where HASH is the hash of all files, and of
A/manifest.json, which is written last and names every file with its size and hash. So readers see either the old folder
or the new one, and the files of two processes that write to one address are never mixed.
"""

import shutil
import uuid
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

from openthoughts_dagster.lake import file_digest
from openthoughts_dagster.lake.credentials import without_credentials
from openthoughts_dagster.storage.addresses import StorageError, join_address, local_path, open_address
from openthoughts_dagster.storage.locks import hold_file
from openthoughts_dagster.storage.manifest import NAME, Manifest
from openthoughts_dagster.storage.transfer import find_objects, remove_file, run_in_threads, upload_file

DEFAULT_CACHE = Path("~/.cache/openthoughts")
_WEIGHTS = (".safetensors", ".bin", ".pt", ".pth", ".gguf", ".h5", ".msgpack", ".onnx")


class Folders:
    """Folders in an object store, with local copies of what was fetched.

    An address may also be a path on this machine. Then `fetch` and `read` use the folder itself: nothing is copied, and
    no manifest is needed.

    Every method raises StorageError when the store cannot be used.

    Args:
        cache: The folder of the local copies. It may be deleted while nothing runs.

    Example:
        >>> folders = Folders()
        >>> manifest = folders.put(Path("my-model"), "s3://bucket/models/mine")
        >>> local = folders.fetch("s3://bucket/models/mine")
    """

    def __init__(self, cache: Path = DEFAULT_CACHE) -> None:
        self.cache = cache.expanduser()

    def put(self, folder: Path, address: str, replace: bool = False) -> Manifest:
        """Upload a local folder to an address. Files that an interrupted upload left there are not sent again.

        Args:
            folder: The local folder. All files below it are uploaded.
            address: Where the folder goes.
            replace: Whether a complete folder at the address is replaced. By default it stays, so that of several
                processes that upload to one address the first one wins.

        Returns:
            The manifest of the folder that is at the address afterwards.

        Raises:
            StorageError: The local folder is empty, or the store cannot be read or written.
        """
        manifest = Manifest.of(folder)
        if not manifest.files:
            raise StorageError(f"{folder}: an empty folder cannot be put at {without_credentials(address)}")
        if (there := self.manifest(address)) is not None and (not replace or there.content == manifest.content):
            return there
        with open_address(address, "written") as (system, root):
            body = f"{root}/{manifest.content}"
            system.invalidate_cache(body)
            sent = {path: info["size"] for path, info in find_objects(system, body).items()}
            wanted = {name: f"{body}/{name}" for name in manifest.files}
            run_in_threads(
                lambda name: upload_file(system, folder / name, wanted[name]),
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
        """Read the manifest of the folder at an address.

        Returns:
            The manifest, or None when there is no complete folder.

        Raises:
            StorageError: The store cannot be read, or the file is not a valid manifest.
        """
        with open_address(address, "read") as (system, root):
            try:
                return Manifest.from_json(system.cat_file(f"{root}/{NAME}"))
            except FileNotFoundError:
                return None
            except (ValueError, KeyError, TypeError) as error:
                raise StorageError(
                    f"{without_credentials(address)}: its {NAME} cannot be used: {error}. Delete the folder and "
                    "make it again"
                ) from None

    def require_manifest(self, address: str) -> Manifest:
        """Read the manifest of a folder that has to be there.

        Raises:
            StorageError: There is no complete folder at the address, or the store cannot be read.
        """
        manifest = self.manifest(address)
        if manifest is None:
            raise StorageError(
                f"{without_credentials(address)}: there is no complete folder (no {NAME}). Materialize the asset that "
                "makes it, correct the address, or put a folder of yours there: openthoughts files put FOLDER ADDRESS"
            )
        return manifest

    def list_files(self, address: str) -> list[str]:
        """List the files of the folder at an address.

        Returns:
            Sorted paths relative to the folder. The list is empty when there is no complete folder.
        """
        if (path := local_path(address)) is not None:
            return sorted(p.relative_to(path).as_posix() for p in path.rglob("*") if p.is_file())
        manifest = self.manifest(address)
        return [] if manifest is None else sorted(manifest.files)

    def fetch(self, address: str, weights: bool = True, manifest: Manifest | None = None) -> Path:
        """Make the files at an address available in a local folder. Each content is downloaded once into the cache.

        Args:
            address: The address of a complete folder, or a path on this machine, which is returned as it is.
            weights: Whether files of weights are fetched. Without them only small files are, such as a tokenizer's.
            manifest: The result of an earlier `require_manifest`. The files that it names are fetched even when the
                address has other files by now. By default the present manifest is used.

        Returns:
            The local folder. Do not write to it: other processes share it.

        Raises:
            StorageError: There is no complete folder, it does not fit into the cache's disk, or a file was changed or
                cut off in the store.
        """
        if (path := local_path(address)) is not None:
            return path
        manifest = manifest or self.require_manifest(address)
        full = self.cache / "folders" / manifest.content
        if full.is_dir():
            return full
        names = [name for name in manifest.files if weights or not name.endswith(_WEIGHTS)]
        target = full if len(names) == len(manifest.files) else full.with_name(f"{manifest.content}.light")
        with self._lock_cache_entry(target, address):
            if not target.is_dir():
                self._download(address, manifest.content, manifest.select(names), target)
        return target

    def read(self, address: str, name: str) -> bytes:
        """Read one small file of the folder at an address.

        Args:
            address: The address of a complete folder, or a path on this machine.
            name: The path of the file in the folder.

        Returns:
            The content of the file.

        Raises:
            StorageError: There is no complete folder or no such file in the store.
        """
        if (path := local_path(address)) is not None:
            return (path / name).read_bytes()
        manifest = self.require_manifest(address)
        with open_address(address, "read") as (system, root):
            return bytes(system.cat_file(f"{root}/{manifest.content}/{name}"))

    def list_folders(self, address: str) -> list[str]:
        """List the names of the complete folders directly below an address, sorted."""
        with open_address(address, "listed") as (system, root):
            system.invalidate_cache(root)
            found = [path.removeprefix(f"{root}/").split("/") for path in find_objects(system, root)]
        return sorted(parts[0] for parts in found if len(parts) == 2 and parts[1] == NAME)

    def remove(self, address: str) -> None:
        """Delete everything at and below an address. Manifests go first, so that no reader sees half a folder."""
        with open_address(address, "deleted") as (system, root):
            system.invalidate_cache(root)
            paths = list(find_objects(system, root))
            manifests = [path for path in paths if path.endswith(f"/{NAME}")]
            for part in (manifests, [path for path in paths if path not in set(manifests)]):
                run_in_threads(partial(remove_file, system), part)

    def try_out(self, address: str) -> None:
        """Test a store: write, list, read and delete one small object below an address.

        Raises:
            StorageError: One of these fails, or the store overwrites an object although the write was conditional.
        """
        name = f"tried-{uuid.uuid4().hex}"
        with open_address(address, "used") as (system, root):
            system.pipe_file(f"{root}/{name}/file", b"1")
            system.invalidate_cache(root)
            if list(find_objects(system, f"{root}/{name}")) != [f"{root}/{name}/file"]:
                raise StorageError(
                    f"{without_credentials(address)}: the store does not list a file that was just written: use a "
                    "store whose reads and lists see the last write"
                )
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
        """Upload single files without a manifest, such as reports, which nobody fetches as a folder.

        Args:
            folder: The local folder that the files are in.
            files: Paths below `folder`.
            address: Where the files go; they keep their paths relative to `folder`. Nothing is copied when this is the
                folder itself.

        Returns:
            The addresses of the files, in the same order.

        Raises:
            StorageError: The store cannot be written.
        """
        names = [path.relative_to(folder).as_posix() for path in files]
        if local_path(address) == folder:
            return [str(folder / name) for name in names]
        with open_address(address, "written") as (system, root):
            run_in_threads(lambda name: upload_file(system, folder / name, f"{root}/{name}"), names)
        return [join_address(address, name) for name in names]

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
            with open_address(address, "fetched") as (system, root):

                def fetch(name: str) -> None:
                    system.get_file(f"{root}/{content}/{name}", str(unfinished / name))
                    self._verify(address, manifest, unfinished, name)

                run_in_threads(fetch, manifest.files)
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
    def _lock_cache_entry(self, target: Path, address: str) -> Iterator[None]:
        """Lock an entry of the cache: another process that wants the same entry waits, and then finds it."""
        with ExitStack() as held:
            try:
                held.enter_context(hold_file(target.with_name(f".{target.name}.lock")))
            except OSError as error:
                raise StorageError(
                    f"{without_credentials(address)}: the copy cannot be kept in {self.cache}: {error}. Make "
                    "OPENTHOUGHTS_DATA a folder that this process can write"
                ) from error
            yield
