"""Keeps the checkpoints of a training in an object store, so that another machine can resume it."""

import json
import shutil
import threading
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from openthoughts_dagster.storage import StorageError, join_address
from openthoughts_dagster.training.students import Students

_KEPT = 2
_PREFIX = "checkpoint-"


@dataclass(frozen=True)
class StoredTraining:
    """The unfinished training of one student in an object store.

    Its checkpoints are uploaded beside the student's address, where another machine finds them. Methods raise
    StorageError.
    """

    students: Students
    fingerprint: str

    def put_job(self, folder: Path) -> str:
        """Upload the job for other machines, and return its address. It is deleted when the student is finished."""
        self.students.folders.put(folder, self._job, replace=True)
        return self._job

    def newest(self) -> str:
        """Return the name of the newest uploaded checkpoint; an empty text if there is none."""
        return max(self.students.folders.list_folders(self._partial), key=step_of, default="")

    def fetch_last(self, partial: Path, log: Callable[[str], None]) -> None:
        """Download the newest uploaded checkpoint to `partial`, unless a whole one that is as new is there.

        A checkpoint that is damaged in the store is logged, and the one before it is used.
        """
        folders = self.students.folders
        whole = [path for path in partial.glob(f"{_PREFIX}*") if describe_damage(path) is None]
        here = max((step_of(path.name) for path in whole), default=-1)
        stored = [
            (step_of(name), join_address(place, name))
            for place in self._partials()
            for name in folders.list_folders(place)
        ]
        for step, address in sorted(stored, reverse=True):
            if step <= here:
                return
            place, _, name = address.rpartition("/")
            try:
                fetched = folders.fetch(address)
            except StorageError as error:
                log(f"student: {name} cannot be used: {error}")
                continue
            partial.mkdir(parents=True, exist_ok=True)
            unfinished = partial / f".{name}.unfinished"  # the cache may be on another disk
            for path in (unfinished, partial / name):
                shutil.rmtree(path, ignore_errors=True)
            shutil.move(fetched, unfinished)  # move it: a copy could fill the disk
            unfinished.rename(partial / name)
            log(f"student: {name} fetched from {place}")
            return

    def publish(self, folder: Path) -> None:
        """Upload a finished student and delete its checkpoints; a student that another machine uploaded first stays."""
        folders = self.students.folders
        folders.put(folder, self.students.address(self.fingerprint))
        for place in (*self._partials(), self._job):
            folders.remove(place)

    def upload(self, checkpoint: Path, first: bool = False) -> None:
        """Upload a checkpoint, and delete all but the newest two.

        Later checkpoints that are there before the first one of a training are deleted, because it passed them over.
        Otherwise they would be kept in the place of its own.
        """
        folders, step = self.students.folders, step_of(checkpoint.name)
        folders.put(checkpoint, join_address(self._partial, checkpoint.name), replace=True)
        names = sorted(folders.list_folders(self._partial), key=step_of)
        passed_over = [name for name in names if first and step_of(name) > step]
        for name in passed_over + [name for name in names if name not in passed_over][:-_KEPT]:
            folders.remove(join_address(self._partial, name))

    def uploads(self, partial: Path, log: Callable[[str], None]) -> Any:
        """Make a TrainerCallback that uploads each checkpoint that the trainer saves below `partial`.

        All processes use it. It uploads in a thread, so that training goes on meanwhile. A checkpoint that cannot be
        uploaded is logged and skipped, because a checkpoint only saves time.
        """
        import torch
        from transformers import TrainerCallback

        running: threading.Thread | None = None
        first = True

        def upload(checkpoint: Path) -> None:
            nonlocal first
            try:
                self.upload(checkpoint, first)
                first = False
            except (StorageError, OSError) as error:
                log(f"student: {checkpoint.name} was not uploaded, training goes on: {error}")

        def wait() -> None:
            if running is not None:
                running.join()

        class Uploads(TrainerCallback):
            def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
                nonlocal running
                if torch.distributed.is_available() and torch.distributed.is_initialized():
                    torch.distributed.barrier()  # each process saves its own part into the folder
                if not state.is_world_process_zero:
                    return
                # The trainer keeps two checkpoints, so the upload of one has to end before the next one is saved.
                wait()
                running = threading.Thread(target=upload, args=(partial / f"{_PREFIX}{state.global_step}",))
                running.start()

            def on_train_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
                wait()

        return Uploads()

    @property
    def _job(self) -> str:
        return join_address(self.students.root, f"{self.fingerprint}.job")

    @property
    def _partial(self) -> str:
        return join_address(self.students.root, f"{self.fingerprint}.partial")

    def _partials(self) -> list[str]:
        """Return the addresses of checkpoints: beside the student, and where an earlier version left them."""
        return [self._partial, *self.students.old_addresses(f"{self.fingerprint}.partial")]


def describe_damage(checkpoint: Path) -> str | None:
    """Say what is wrong with a checkpoint on this machine; None if it is whole.

    The trainer writes its state file last. Weights and optimizer are checked as well, because a full disk or a machine
    that was switched off leaves files that are too short. Without a state of the optimizer the trainer would go on with
    a new one, and say nothing.
    """
    try:
        json.loads((checkpoint / "trainer_state.json").read_text())
        for name in ("optimizer", "scheduler"):
            if not any(checkpoint.glob(f"{name}*")):
                return f"it is not whole: there is no {name}"
        for file in sorted(checkpoint.iterdir()):
            if file.suffix == ".safetensors":
                _open_safetensors(file)
            elif file.suffix in (".pt", ".pth", ".bin"):
                with zipfile.ZipFile(file) as archive:
                    if (broken := archive.testzip()) is not None:
                        return f"{file.name} is damaged at {broken}"
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        return f"it is not whole: {type(error).__name__}: {error}"
    return None


def _open_safetensors(file: Path) -> None:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(file, framework="np"):
            pass
    except SafetensorError as error:
        raise ValueError(f"{file.name}: {error}") from error


def step_of(name: str) -> int:
    """Return the step in a checkpoint's name; -1 for any other name."""
    number = name.removeprefix(_PREFIX)
    return int(number) if number.isdigit() else -1
