"""The place of students, which are found by their fingerprint."""

import glob
import json
import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from openthoughts_dagster.storage import Folders, hold_file, join_address, local_path
from openthoughts_dagster.storage.addresses import open_address
from openthoughts_dagster.training.claims import hold_claim

REPORT = "training.json"
"""The file of a finished student that says how it was trained."""

_OURS = re.compile(r"\.?[0-9a-f]{32}(\.\w+)?")


@dataclass(frozen=True)
class Students:
    """The place of all students. Each is the folder ROOT/FINGERPRINT, so that equal inputs make one student.

    Students that earlier versions left at ROOT/SOURCE/TEACHER/FINGERPRINT are found and used there.

    Args:
        root: A folder, or an address in an object store such as s3://bucket/files/students.
        scratch: A folder of this machine in which students are trained if `root` is in an object store.
        cache: A folder of this machine for copies from the store.
    """

    root: str
    scratch: Path
    cache: Path

    @property
    def in_store(self) -> bool:
        """Whether students are in an object store and not in a folder of this machine."""
        return local_path(self.root) is None

    @property
    def folders(self) -> Folders:
        """The folders in the store, with their copies on this machine."""
        return Folders(self.cache)

    @property
    def workplace(self) -> Path:
        """The folder of this machine in which students are trained."""
        return local_path(self.root) or self.scratch

    def partial(self, fingerprint: str) -> Path:
        """Return the folder of an unfinished training on this machine."""
        return self.workplace / f"{fingerprint}.partial"

    def address(self, fingerprint: str) -> str:
        """Return the address at which a new student is put."""
        return join_address(self.root, fingerprint)

    def find(self, fingerprint: str) -> str | None:
        """Return the address of a finished student; None if there is none. Raises StorageError."""
        if (path := local_path(self.root)) is not None:
            here = [path / fingerprint, *_in_cells(path, fingerprint)]
            return next((str(each) for each in here if (each / REPORT).is_file()), None)
        if self.folders.manifest(self.address(fingerprint)) is not None:
            return self.address(fingerprint)
        return next((at for at in self.old_addresses(fingerprint) if self.folders.manifest(at) is not None), None)

    def report(self, address: str) -> dict[str, Any]:
        """Read the training report of a finished student. Raises StorageError."""
        report: dict[str, Any] = json.loads(self.folders.read(address, REPORT))
        return report

    def old_addresses(self, name: str) -> list[str]:
        """Return the addresses ROOT/SOURCE/TEACHER/NAME, which earlier versions used in the store."""
        with open_address(self.root, "listed") as (system, root):
            cells = [cell for source in _subfolders(system, root) for cell in _subfolders(system, source)]
            return [join_address(self.root, cell.removeprefix(root), name) for cell in cells]

    def adopt_interrupted(self, fingerprint: str, log: Callable[[str], None]) -> None:
        """Move a training that an earlier version left unfinished in a folder of its cell on this machine."""
        partial = self.partial(fingerprint)
        for old in _in_cells(self.workplace, f"{fingerprint}.partial"):
            if not partial.exists():
                old.rename(partial)
                log(f"student: going on with the training that was begun in {old}")

    @contextmanager
    def hold(self, fingerprint: str, log: Callable[[str], None]) -> Iterator[None]:
        """Hold the claim on a student's training inside the block; other runs wait. Raises StorageError."""

        def waiting() -> None:
            log(f"student: another run trains {fingerprint} already: waiting for it")

        with ExitStack() as held:
            held.enter_context(hold_file(self.workplace / f".{fingerprint}.lock", waiting))
            if self.in_store:
                held.enter_context(hold_claim(join_address(self.root, f"{fingerprint}.claim"), waiting))
            yield


def _in_cells(root: Path, name: str) -> list[Path]:
    """Return the folders ROOT/SOURCE/TEACHER/NAME of earlier versions.

    Path.glob would raise when the training of another student ends meanwhile, and its folder goes.
    """
    return [root / found for found in sorted(glob.glob(f"*/*/{name}", root_dir=root))]  # noqa: PTH207


def _subfolders(system: Any, path: str) -> list[str]:
    """Return the folders directly below a path of a store, without those of current students."""
    system.invalidate_cache(path)
    try:
        entries = system.ls(path, detail=True)
    except FileNotFoundError:
        return []
    paths = [entry["name"].rstrip("/") for entry in entries if entry["type"] == "directory"]
    return [each for each in paths if not _OURS.fullmatch(each.rpartition("/")[2])]
