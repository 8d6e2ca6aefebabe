"""Where the folders of versions are: NAME/TEACHER/VERSION below an address; each is complete or absent."""

import shutil
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from openthoughts_dagster.release.errors import ReleaseError
from openthoughts_dagster.release.record import RECORD
from openthoughts_dagster.storage import Folders, hold_file, join_address, local_path


@dataclass(frozen=True)
class ReleasePlace:
    """The place of all releases.

    Args:
        address: The folder or store address, such as OPENTHOUGHTS_FILES/releases.
        workplace: The local folder in which a version is made; the address itself when that is a folder.
        folders: The folders in the store.
    """

    address: str
    workplace: Path
    folders: Folders

    def address_of(self, name: str, teacher: str, version: str) -> str:
        """Return the address of a version."""
        return join_address(self.address, name, teacher, version)

    def has(self, address: str) -> bool:
        """Return whether a complete version is at an address that `address_of` gave."""
        if (folder := local_path(address)) is not None:
            return (folder / RECORD).is_file()
        return self.folders.manifest(address) is not None

    def put(self, name: str, teacher: str, version: str, make: Callable[[Path], None]) -> bool:
        """Make the folder of a version, unless it is there. Of two that make it at once, the second waits and finds it.

        Args:
            name: Name of the release.
            teacher: The teacher.
            version: The version.
            make: Writes all files into the empty folder that it gets.

        Returns:
            Whether it was made now.

        Raises:
            ReleaseError: The files could not be written, for example because the disk is full. Nothing is left of them.
        """
        address, parent = self.address_of(name, teacher, version), self.workplace / name / teacher
        with _locked(parent, version):
            if self.has(address):
                return False
            with _unfinished(parent, version, name) as folder:
                make(folder)
                if local_path(address) is not None:
                    folder.rename(parent / version)
                else:
                    self.folders.put(folder, address)
        return True

    def update(self, name: str, teacher: str, version: str, write: Callable[[Path], None]) -> None:
        """Replace files of a version that describe it, such as its card; its rows stay as they are.

        Args:
            name: Name of the release.
            teacher: The teacher.
            version: The version, which is there.
            write: Writes the files into the empty folder that it gets.

        Raises:
            ReleaseError: The files could not be written.
        """
        address, parent = self.address_of(name, teacher, version), self.workplace / name / teacher
        with _locked(parent, version), _unfinished(parent, version, name) as folder:
            write(folder)
            if (there := local_path(address)) is not None:
                for path in folder.iterdir():
                    path.replace(there / path.name)
                return
            for path in (whole := self.folders.fetch(address)).rglob("*"):
                copy = folder / path.relative_to(whole)
                if path.is_file() and not copy.exists():
                    copy.parent.mkdir(parents=True, exist_ok=True)
                    shutil.copyfile(path, copy)
            self.folders.put(folder, address, replace=True)


@contextmanager
def _unfinished(parent: Path, version: str, name: str) -> Iterator[Path]:
    """Give a folder for files of a version; what is left in it at the end is deleted."""
    for left in parent.glob(f".{version}.*.unfinished"):
        shutil.rmtree(left, ignore_errors=True)  # of a process that was killed: the lock is ours
    folder = parent / f".{version}.{uuid.uuid4().hex}.unfinished"
    try:
        folder.mkdir()
        yield folder
    except OSError as error:
        free = shutil.disk_usage(parent).free / 2**30
        raise ReleaseError(
            f"version {version} of release {name} could not be written below {parent}: {error}. {free:,.1f} "
            "GiB are free there; a version needs about four times the bytes of its texts. Nothing is left of "
            "the attempt: make space, and materialize reasoning_dataset again"
        ) from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _locked(parent: Path, version: str) -> Iterator[None]:
    with ExitStack() as held:
        try:
            held.enter_context(hold_file(parent / f".{version}.lock"))
        except OSError as error:
            raise ReleaseError(
                f"releases cannot be written below {parent}: {error}. Let OPENTHOUGHTS_FILES be writable"
            ) from error
        yield
