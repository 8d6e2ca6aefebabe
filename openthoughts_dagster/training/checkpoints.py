"""Trainings whose machines come and go: finished students and checkpoints in an object store."""

import json
import shutil
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from openthoughts_dagster.storage import Folders, StorageError, joined

_KEPT = 2
_PREFIX = "checkpoint-"


@dataclass(frozen=True)
class SharedStudents:
    """The students of one cell in an object store: each at ADDRESS/FINGERPRINT, its checkpoints beside it until then.

    Another machine finds what this one uploaded. `cache` is a folder of this machine. Methods raise StorageError.
    """

    address: str
    cache: Path

    @property
    def _folders(self) -> Folders:
        return Folders(self.cache)

    def student(self, fingerprint: str) -> str:
        """The address of a student."""
        return joined(self.address, fingerprint)

    def report(self, fingerprint: str, name: str) -> dict[str, Any] | None:
        """The JSON file `name` of a finished student; None while it is not finished."""
        if self._folders.manifest(self.student(fingerprint)) is None:
            return None
        report: dict[str, Any] = json.loads(self._folders.read(self.student(fingerprint), name))
        return report

    def put_job(self, fingerprint: str, folder: Path) -> str:
        """Upload what other machines train a student from; returns where. It is deleted when the student is there."""
        address = self._job(fingerprint)
        self._folders.put(folder, address, replace=True)
        return address

    def newest(self, fingerprint: str) -> str:
        """The name of the newest uploaded checkpoint; empty without one."""
        return max(self._folders.names(self._partial(fingerprint)), key=_step, default="")

    def fetch_last(self, fingerprint: str, partial: Path, log: Callable[[str], None]) -> None:
        """Bring the newest uploaded checkpoint to `partial`, unless one as new is there.

        One that was damaged in the store is said and passed over for the one before.
        """
        place = self._partial(fingerprint)
        here = max((_step(path.name) for path in partial.glob(f"{_PREFIX}*")), default=-1)
        for name in sorted(self._folders.names(place), key=_step, reverse=True):
            if _step(name) <= here:
                return
            try:
                fetched = self._folders.fetch(joined(place, name))
            except StorageError as error:
                log(f"student: {name} cannot be used: {error}")
                continue
            partial.mkdir(parents=True, exist_ok=True)
            shutil.move(fetched, partial / name)  # not a copy: it may be as large as the disk is free
            log(f"student: {name} fetched from {place}")
            return

    def publish(self, fingerprint: str, folder: Path) -> None:
        """Upload a finished student, and delete its checkpoints. Where another machine was first, its student stays."""
        self._folders.put(folder, self.student(fingerprint))
        self._folders.remove(self._partial(fingerprint))
        self._folders.remove(self._job(fingerprint))

    def upload(self, fingerprint: str, checkpoint: Path) -> None:
        """Upload a checkpoint, and delete all but the newest two."""
        place = self._partial(fingerprint)
        self._folders.put(checkpoint, joined(place, checkpoint.name))
        for name in sorted(self._folders.names(place), key=_step)[:-_KEPT]:
            self._folders.remove(joined(place, name))

    def uploads(self, fingerprint: str, partial: Path, log: Callable[[str], None]) -> Any:
        """A TrainerCallback that uploads each checkpoint that the trainer saves below `partial`; for all processes.

        In a thread, so that training goes on meanwhile. A checkpoint that cannot be uploaded is said and passed over:
        it would only have saved time.
        """
        import torch
        from transformers import TrainerCallback

        running: threading.Thread | None = None

        def upload(checkpoint: Path) -> None:
            try:
                self.upload(fingerprint, checkpoint)
            except (StorageError, OSError) as error:
                log(f"student: {checkpoint.name} was not uploaded, training goes on: {error}")

        def wait() -> None:
            if running is not None:
                running.join()

        class Uploads(TrainerCallback):
            def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
                nonlocal running
                if torch.distributed.is_available() and torch.distributed.is_initialized():
                    torch.distributed.barrier()  # each process has its own part in the folder
                if not state.is_world_process_zero:
                    return
                # The trainer keeps two checkpoints: the one before this must be read before the next is saved.
                wait()
                running = threading.Thread(target=upload, args=(partial / f"{_PREFIX}{state.global_step}",))
                running.start()

            def on_train_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
                wait()

        return Uploads()

    def _job(self, fingerprint: str) -> str:
        return joined(self.address, f"{fingerprint}.job")

    def _partial(self, fingerprint: str) -> str:
        return joined(self.address, f"{fingerprint}.partial")


def _step(name: str) -> int:
    number = name.removeprefix(_PREFIX)
    return int(number) if number.isdigit() else -1
