"""Supervised fine-tuning with TRL, kept by fingerprint and resumed where it was interrupted."""

import shutil
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import polars as pl

from openthoughts_dagster.generation.model import Model
from openthoughts_dagster.lake import frame_hash, value_hash
from openthoughts_dagster.recipe import Student, identity_of
from openthoughts_dagster.training.batches import split_batch
from openthoughts_dagster.training.checkpoints import StoredTraining
from openthoughts_dagster.training.errors import TrainingError
from openthoughts_dagster.training.job import Job
from openthoughts_dagster.training.launch import torchrun
from openthoughts_dagster.training.run import FINAL, Trained, last_checkpoint, run_training
from openthoughts_dagster.training.students import REPORT, Students

Launch = Callable[[str, str, Callable[[], str]], None]
"""Trains the job at an address on other machines: address, fingerprint, and what tells how far it is: the name of the
newest checkpoint, `final` when the student is there. Returns when it is."""

# Earlier versions kept the weights themselves in bfloat16 on an accelerator, and wrote nothing of it into fingerprints:
# with the learning rates of fine-tuning most of those weights never move. What they trained is another student.
_PRECISION = "float32 weights, bfloat16 autocast"


def train_student(
    student: Student,
    base: Model,
    rows: pl.DataFrame,
    students: Students,
    log: Callable[[str], None],
    processes: int | None = None,
    launch: Launch | None = None,
) -> Trained:
    """Fine-tune a base model on rows, once for each fingerprint.

    The same base, rows and settings have the same fingerprint, and they are one student, in however many processes it
    was trained and whoever asked for it. An interrupted training goes on from its last checkpoint. When two runs train
    one student at once, the second waits and takes what the first made.

    Args:
        student: The settings, as the recipe has them.
        base: The weights that are trained, as `locate` finds them.
        rows: What the student learns from, with columns question and text, in the order that the seed shuffles.
        students: Where students are. A finished one is looked for there first, and is there in the end.
        log: Takes the lines of progress, each beginning with "student: ".
        processes: How many processes of this machine train it; None for one on each accelerator that the student asks
            for and the machine has.
        launch: Trains on other machines instead, as `nodes_launch` does.

    Returns:
        Where the student is and how its training went. `reused` says that it was there before.

    Raises:
        TrainingError: No row is left to train on, the batch cannot be split between the processes, or the training
            failed.
        StorageError: The object store could not be read or written.
    """
    fingerprint = student_fingerprint(student, base, rows)
    if (trained := _finished(students, fingerprint)) is not None:
        return trained
    with students.hold(fingerprint, log):
        if (trained := _finished(students, fingerprint)) is not None:
            return trained
        students.adopt_interrupted(fingerprint, log)
        job, stored = Job(student, base, rows, students), None
        if students.in_store:
            stored = StoredTraining(students, fingerprint)
        if launch is not None:
            return _train_elsewhere(job, fingerprint, stored, launch)
        return _train_here(job, fingerprint, stored, processes or _accelerators(student, log), log)


def check_batch_divides(student: Student) -> None:
    """Raise TrainingError when a student's batch cannot be split between the processes that its hardware has."""
    split_batch(student.settings(), student.hardware.nodes * max(1, student.hardware.count))


def _finished(students: Students, fingerprint: str) -> Trained | None:
    address = students.find(fingerprint)
    return None if address is None else Trained.from_report(students.report(address), address, reused=True)


def _train_here(
    job: Job, fingerprint: str, stored: StoredTraining | None, processes: int, log: Callable[[str], None]
) -> Trained:
    """The student that processes of this machine train."""
    done, partial = job.students.workplace / fingerprint, job.students.partial(fingerprint)
    if not done.is_dir():  # where it is, its upload was interrupted
        split_batch(job.student.settings(), processes)
        if stored is not None:
            stored.fetch_last(partial, log)
        if processes == 1 and not _several_visible():
            run_training(job.student, job.base, job.rows, partial, 1, log, stored)
        else:
            job.write(partial)
            torchrun(partial, processes, log)
        (partial / FINAL).rename(done)
    shutil.rmtree(partial, ignore_errors=True)
    if stored is not None:
        stored.publish(done)
    return _trained(job.students, fingerprint)


def _train_elsewhere(job: Job, fingerprint: str, stored: StoredTraining | None, launch: Launch) -> Trained:
    """The student that other machines train, from a job in a folder that they see or in the store."""
    check_batch_divides(job.student)
    if stored is None:
        partial = job.students.partial(fingerprint)
        job.write(partial)
        launch(str(partial), fingerprint, lambda: _newest(partial))
        (partial / FINAL).rename(job.students.workplace / fingerprint)
        shutil.rmtree(partial, ignore_errors=True)
        return _trained(job.students, fingerprint)
    with TemporaryDirectory() as folder:
        job.write(Path(folder))
        address = stored.put_job(Path(folder))

    def progress() -> str:
        return FINAL if job.students.find(fingerprint) else stored.newest()

    launch(address, fingerprint, progress)
    return _trained(job.students, fingerprint)


def _trained(students: Students, fingerprint: str) -> Trained:
    address = students.find(fingerprint)
    if address is None:
        raise TrainingError(f"student: its training ended and left nothing at {students.address(fingerprint)}")
    return Trained.from_report(students.report(address), address, reused=False)


def _newest(partial: Path) -> str:
    if (partial / FINAL / REPORT).is_file():
        return FINAL
    checkpoints = [last for sharded in (False, True) if (last := last_checkpoint(partial, sharded))]
    return checkpoints[0].name if checkpoints else ""


def student_fingerprint(student: Student, base: Model, rows: pl.DataFrame) -> str:
    """What names a student: all that it learns from, and nothing of the machines that train it."""
    settings = student.settings()
    recipe = {
        "base": base.identity.partition,
        "rows": frame_hash(rows.select("question", "text").with_row_index("position")),
        "settings": identity_of(settings),
        "too_long": student.too_long,
        "system_prompt": student.system_prompt,
        "seed": student.seed,
    }
    if settings.bf16 and settings.weights == "float32":
        recipe["precision"] = _PRECISION
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
