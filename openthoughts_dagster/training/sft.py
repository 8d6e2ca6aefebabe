"""Supervised fine-tuning with TRL: students are found by fingerprint, and interrupted trainings are resumed."""

import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import polars as pl

from openthoughts_dagster.generation.model import Model
from openthoughts_dagster.lake import value_hash
from openthoughts_dagster.recipe import Student, identity_of
from openthoughts_dagster.storage import TEMPORARY_PREFIX
from openthoughts_dagster.training.batches import split_batch
from openthoughts_dagster.training.card import SourceRows
from openthoughts_dagster.training.checkpoints import StoredTraining
from openthoughts_dagster.training.errors import OutOfMemory, TrainingError
from openthoughts_dagster.training.job import Job
from openthoughts_dagster.training.launch import torchrun
from openthoughts_dagster.training.memory import check_heads
from openthoughts_dagster.training.rows import Rows, rows_identity
from openthoughts_dagster.training.run import FINAL, last_checkpoint, run_training
from openthoughts_dagster.training.run_report import Trained
from openthoughts_dagster.training.students import REPORT, Students

Launch = Callable[[str, str, Callable[[], str]], None]
"""Trains the job at an address on other machines: address, fingerprint, and what tells how far it is: the name of the
newest checkpoint, `final` when the student is there. Returns when it is. Raises OutOfMemory if a pass is too large."""

# Earlier versions kept the weights in bfloat16 on an accelerator without recording it in the fingerprint. With the
# learning rates of fine-tuning most of those weights never change, so those students are different ones.
_PRECISION = "float32 weights, bfloat16 autocast"


def train_student(
    student: Student,
    base: Model,
    rows: Rows,
    students: Students,
    log: Callable[[str], None],
    processes: int | None = None,
    launch: Launch | None = None,
    sources: Sequence[SourceRows] = (),
) -> Trained:
    """Fine-tune a base model on rows, once for each fingerprint.

    The same base, rows and settings have the same fingerprint and are one student, whoever asks for it and in however
    many processes it is trained. An interrupted training resumes from its last checkpoint. If two runs want to train
    one student at the same time, the second waits and uses the result of the first.

    Args:
        student: The settings, as the recipe has them.
        base: The weights that are trained, as `locate` finds them.
        rows: The rows that the student learns from: columns question and text, and maybe ended, which says whether the
            teacher ended the text itself; otherwise no end is learned. A LazyFrame is read a part at a time, for rows
            that do not fit into memory.
        students: The place of students. A finished student with the same fingerprint is reused from there.
        log: Takes the lines of progress, each beginning with "student: ".
        processes: The number of processes of this machine; None for one on each accelerator that the student asks for
            and the machine has.
        launch: Trains on other machines instead, as `nodes_launch` does.
        sources: Where the rows come from, for the model card.

    Returns:
        The address of the student and the report of its training. `reused` says that it existed before.

    Raises:
        TrainingError: No row is left to train on, the batch cannot be split between the processes, or the training
            failed.
        StorageError: The object store could not be read or written.
    """
    if not rows.lazy().select(pl.len()).collect().item():
        raise TrainingError(
            "student: no row to train on: 0 answers. Look at teacher_answers and rejected_answers of this partition"
        )
    if (config := Path(base.address) / "config.json").is_file():
        check_heads(json.loads(config.read_text()), student)
    fingerprint = student_fingerprint(student, base, rows)
    if (trained := _finished(students, fingerprint)) is not None:
        return trained
    with students.hold(fingerprint, log):
        if (trained := _finished(students, fingerprint)) is not None:
            return trained
        students.adopt_interrupted(fingerprint, log)
        job, stored = Job(student, base, rows, students, sources), None
        if students.in_store:
            stored = StoredTraining(students, fingerprint)
        if launch is not None:
            return _train_elsewhere(job, fingerprint, stored, launch, log)
        return _train_here(job, fingerprint, stored, processes or _accelerators(student, log), log)


def check_batch_divides(student: Student) -> None:
    """Raise TrainingError if a student's batch cannot be split between the processes of its hardware."""
    split_batch(student.settings(), student.hardware.nodes * max(1, student.hardware.count))


def _finished(students: Students, fingerprint: str) -> Trained | None:
    address = students.find(fingerprint)
    return None if address is None else Trained.from_report(students.report(address), address, reused=True)


def _train_here(
    job: Job, fingerprint: str, stored: StoredTraining | None, processes: int, log: Callable[[str], None]
) -> Trained:
    """Train the student in processes of this machine."""
    done, partial = job.students.workplace / fingerprint, job.students.partial(fingerprint)
    if not done.is_dir():  # if it exists, its upload was interrupted
        split_batch(job.student.settings(), processes)
        if stored is not None:
            stored.fetch_last(partial, log)
        while True:
            job.write(partial)
            try:
                if processes == 1 and not _several_visible():
                    run_training(job.student, job.base, partial, 1, log, stored, job.sources)
                else:
                    torchrun(partial, processes, log)
                break
            except OutOfMemory as error:
                job = _with_smaller_passes(job, processes, error, log)
        (partial / FINAL).rename(done)
    shutil.rmtree(partial, ignore_errors=True)
    if stored is not None:
        stored.publish(done)
    return _trained(job.students, fingerprint)


def _with_smaller_passes(job: Job, processes: int, error: OutOfMemory, log: Callable[[str], None]) -> Job:
    """Halve the rows of a pass and double the passes; raise an error if a pass has a single row."""
    settings = job.student.settings()
    batches = split_batch(settings, processes)
    if (per_device := batches.per_device) == 1:
        raise TrainingError(
            f"{error}. A pass has one row already: set training.sharding to fsdp on more accelerators, "
            "training.gradient_checkpointing to true, or a smaller training.max_length"
        ) from error
    share = per_device * batches.accumulation
    smaller = next(count for count in range(per_device // 2, 0, -1) if share % count == 0)
    log(f"{error}. Trying passes of {smaller} rows")
    training = settings.model_copy(update={"per_device_batch_size": smaller})
    return replace(job, student=job.student.model_copy(update={"training": training}))


def _train_elsewhere(
    job: Job, fingerprint: str, stored: StoredTraining | None, launch: Launch, log: Callable[[str], None]
) -> Trained:
    """Let other machines train the student, from a job in a shared folder or in the store."""
    check_batch_divides(job.student)
    hardware = job.student.hardware
    while True:
        try:
            if stored is None:
                _launch_from_folder(job, fingerprint, launch)
            else:
                _launch_from_store(job, fingerprint, stored, launch)
            return _trained(job.students, fingerprint)
        except OutOfMemory as error:
            job = _with_smaller_passes(job, hardware.nodes * max(1, hardware.count), error, log)


def _launch_from_folder(job: Job, fingerprint: str, launch: Launch) -> None:
    partial = job.students.partial(fingerprint)
    job.write(partial)
    launch(str(partial), fingerprint, lambda: _newest(partial))
    (partial / FINAL).rename(job.students.workplace / fingerprint)
    shutil.rmtree(partial, ignore_errors=True)


def _launch_from_store(job: Job, fingerprint: str, stored: StoredTraining, launch: Launch) -> None:
    with TemporaryDirectory(prefix=TEMPORARY_PREFIX) as folder:
        job.write(Path(folder))
        address = stored.put_job(Path(folder))
    launch(address, fingerprint, lambda: FINAL if job.students.find(fingerprint) else stored.newest())


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


def student_fingerprint(student: Student, base: Model, rows: Rows) -> str:
    """Return the fingerprint of a student: a hash of all that it learns from, without the machines that train it."""
    settings = student.settings()
    recipe = {
        "base": base.identity.partition,
        "settings": identity_of(settings),
        "too_long": student.too_long,
        "system_prompt": student.system_prompt,
        "seed": student.seed,
        **rows_identity(rows),
    }
    if settings.bf16 and settings.weights == "float32":
        recipe["precision"] = _PRECISION
    # Earlier versions trained with the date of the training, and asked with that of the recipe.
    if student.template_date is not None and "strftime_now" in base.tokenizer().get_chat_template():
        recipe["template_date"] = student.template_date.isoformat()
    return value_hash(recipe)


def _accelerators(student: Student, log: Callable[[str], None]) -> int:
    """Return the number of processes on this machine: one for each accelerator that the student asks for."""
    import torch

    wanted, present = max(1, student.hardware.count), torch.cuda.device_count()
    if wanted > max(1, present):
        log(f"student: asks for {wanted} accelerators, this machine has {present}: the same training takes longer")
    return min(wanted, max(1, present))


def _several_visible() -> bool:
    """Return whether a trainer in this process would use accelerators that the student did not ask for."""
    import torch

    return bool(torch.cuda.device_count() > 1)
