"""Supervised fine-tuning with TRL, kept by fingerprint and resumed where it was interrupted."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import polars as pl

from openthoughts_dagster.generation.model import Model
from openthoughts_dagster.lake import frame_hash, value_hash
from openthoughts_dagster.recipe import Student, identity_of
from openthoughts_dagster.training.batches import split_batch
from openthoughts_dagster.training.checkpoints import SharedStudents
from openthoughts_dagster.training.errors import TrainingError
from openthoughts_dagster.training.job import Job
from openthoughts_dagster.training.launch import torchrun
from openthoughts_dagster.training.run import FINAL, REPORT, Trained, last_checkpoint, run_training

Launch = Callable[[str, str, Callable[[], str]], None]
"""Trains the job at an address on other machines: address, fingerprint, and what tells how far it is: the name of the
newest checkpoint, `final` when the student is there. Returns when it is."""


def train_student(
    student: Student,
    base: Model,
    rows: pl.DataFrame,
    folder: Path,
    log: Callable[[str], None],
    processes: int | None = None,
    shared: SharedStudents | None = None,
    launch: Launch | None = None,
) -> Trained:
    """Fine-tune `base` on `rows` (question, text) and leave a checkpoint folder below `folder`.

    The same base, rows and settings have the same fingerprint and are trained once, in however many processes; an
    interrupted training goes on from its last checkpoint. A folder without `.partial` in its name is always complete.
    With `shared` the student is looked for there first and is there in the end, and its checkpoints meanwhile: another
    machine goes on from them. `processes` on this machine: None for one on each accelerator that the student asks for
    and the machine has; with `launch` other machines train it. Raises TrainingError when no row is left to train on, or
    when the batch cannot be dealt to the processes.
    """
    fingerprint = student_fingerprint(student, base, rows)
    done, partial = folder / fingerprint, folder / f"{fingerprint}.partial"
    if shared is not None and (report := shared.report(fingerprint, REPORT)) is not None:
        return Trained(**(report | {"path": shared.student(fingerprint), "reused": True}))
    reused = done.is_dir()
    if launch is not None and shared is not None:
        return _launched(Job(student, base, rows, shared), fingerprint, shared, launch)
    if launch is not None and not reused:
        check_batch_divides(student)
        Job(student, base, rows).write(partial)
        launch(str(partial), fingerprint, lambda: _newest(partial))
        (partial / FINAL).rename(done)
    elif not reused:
        here = processes or _accelerators(student, log)
        split_batch(student.settings(), here)
        if shared is not None:
            shared.fetch_last(fingerprint, partial, log)
        if here == 1 and not _several_visible():
            run_training(student, base, rows, partial, 1, log, shared)
        else:
            Job(student, base, rows, shared).write(partial)
            torchrun(partial, here, log)
        (partial / FINAL).rename(done)
    shutil.rmtree(partial, ignore_errors=True)
    report, path = json.loads((done / REPORT).read_text()), str(done)
    if shared is not None:
        shared.publish(fingerprint, done)
        path = shared.student(fingerprint)
    return Trained(**(report | {"path": path, "reused": reused}))


def check_batch_divides(student: Student) -> None:
    """Raise TrainingError when a student's batch cannot be dealt to the processes that its hardware has."""
    split_batch(student.settings(), student.hardware.nodes * max(1, student.hardware.count))


def _launched(job: Job, fingerprint: str, shared: SharedStudents, launch: Launch) -> Trained:
    """The student that other machines left in the store."""
    check_batch_divides(job.student)
    with TemporaryDirectory() as folder:
        job.write(Path(folder))
        address = shared.put_job(fingerprint, Path(folder))

    def progress() -> str:
        return FINAL if shared.report(fingerprint, REPORT) else shared.newest(fingerprint)

    launch(address, fingerprint, progress)
    report = shared.report(fingerprint, REPORT)
    if report is None:
        raise TrainingError(f"student: its training ended and left nothing at {shared.student(fingerprint)}")
    return Trained(**(report | {"path": shared.student(fingerprint)}))


def _newest(partial: Path) -> str:
    if (partial / FINAL / REPORT).is_file():
        return FINAL
    checkpoints = [last for sharded in (False, True) if (last := last_checkpoint(partial, sharded))]
    return checkpoints[0].name if checkpoints else ""


def student_fingerprint(student: Student, base: Model, rows: pl.DataFrame) -> str:
    """What names a student: all that it learns from, and nothing of the machines that train it."""
    recipe = {
        "base": base.identity.partition,
        "rows": frame_hash(rows.select("question", "text").with_row_index("position")),
        "settings": identity_of(student.settings()),
        "too_long": student.too_long,
        "system_prompt": student.system_prompt,
        "seed": student.seed,
    }
    return value_hash(recipe)


def _accelerators(student: Student, log: Callable[[str], None]) -> int:
    """How many processes this machine trains the student in: one on each accelerator it asks for, at most all."""
    import torch

    wanted, present = max(1, student.hardware.count), torch.cuda.device_count()
    if wanted > max(1, present):
        log(f"student: asks for {wanted} accelerators, this machine has {present}: the same training takes longer")
    return min(wanted, max(1, present))


def _several_visible() -> bool:
    """Whether a trainer started in this process would spread over accelerators that the student did not ask for."""
    import torch

    return bool(torch.cuda.device_count() > 1)
