"""Runs a training in one process, which may be one of several."""

import gc
import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from openthoughts_dagster.generation.model import Model
from openthoughts_dagster.recipe import Student
from openthoughts_dagster.training.batches import split_batch
from openthoughts_dagster.training.callbacks import check_finite_weights
from openthoughts_dagster.training.card import CARD, SourceRows, model_card
from openthoughts_dagster.training.checkpoints import StoredTraining, describe_damage, step_of
from openthoughts_dagster.training.errors import OutOfMemory, TrainingError
from openthoughts_dagster.training.job import ROWS
from openthoughts_dagster.training.kernels import save_whole_model
from openthoughts_dagster.training.prepare import Prepared, prepare_rows
from openthoughts_dagster.training.run_report import Trained
from openthoughts_dagster.training.sharding import is_sharded
from openthoughts_dagster.training.shown_answers import show_answers
from openthoughts_dagster.training.students import REPORT
from openthoughts_dagster.training.templates import OWN
from openthoughts_dagster.training.trainer import build_trainer

TOKENS = "tokens"
"""The folder of the token files of a training."""

FINAL = "final"
_SHARDED = "pytorch_model_fsdp.bin"  # the folder of the weights in FSDP's checkpoints


def run_training(
    student: Student,
    base: Model,
    partial: Path,
    processes: int,
    log: Callable[[str], None],
    stored: StoredTraining | None = None,
    sources: Sequence[SourceRows] = (),
) -> None:
    """Train in this process, which may be one of several, and write weights and report to `partial`/final.

    The training resumes from the last whole checkpoint below `partial`.

    Args:
        student: The settings.
        base: The weights that are trained.
        partial: The folder of the training, with the rows in it.
        processes: The number of processes that train together.
        log: Takes the lines of progress.
        stored: Uploads checkpoints; None if they stay in the folder.
        sources: Where the rows come from, for the model card.

    Raises:
        OutOfMemory: The accelerator's memory is too small for a pass of `per_device_batch_size` rows.
        TrainingError: The training cannot be done, or a loss, gradient or weight is not finite.
    """
    import torch

    try:
        _train(student, base, partial, processes, log, stored, sources)
        return
    except torch.OutOfMemoryError as error:
        reason = str(error)
    _free_memory()  # here, because the error holds the model as long as it is handled
    rows = split_batch(student.settings(), processes).per_device
    raise OutOfMemory(f"student: the accelerator's memory is too small for passes of {rows} rows: {reason}")


def _train(
    student: Student,
    base: Model,
    partial: Path,
    processes: int,
    log: Callable[[str], None],
    stored: StoredTraining | None,
    sources: Sequence[SourceRows],
) -> None:
    import torch

    batches = split_batch(student.settings(), processes)
    prepared = prepare_rows(student, base, partial / ROWS, partial / TOKENS, log)
    if prepared.template != OWN:
        log(f"student: the base model's chat template cannot train it, rows are rendered by {prepared.template}")
    sharded = is_sharded(student.settings(), processes)
    last = last_checkpoint(partial, sharded, log)
    while True:
        trainer = build_trainer(student, base, prepared, batches, partial, log)
        if stored is not None:
            trainer.add_callback(stored.uploads(partial, log))
        if processes > 1:
            _check_agreed(last)
        if last is not None:
            log(f"student: going on from {last.name}")
        try:
            trainer.train(resume_from_checkpoint=str(last) if last else None)
            break
        except Exception as error:
            known = isinstance(error, TrainingError | torch.OutOfMemoryError) or "CUDA" in str(error)
            if last is None or trainer.begun or known:
                raise  # it does not come from what is in the checkpoint
            last = _checkpoint_before(last, processes, error, log, partial, sharded)
        del trainer
        _free_memory()
    final = partial / FINAL
    save_whole_model(trainer, final)
    if not trainer.is_world_process_zero():
        return
    check_finite_weights(final)
    trained = _report(trainer, prepared, partial.with_suffix(""))
    del trainer
    _free_memory()  # for the answers
    trained = replace(trained, answers=show_answers(student, base, partial / ROWS, final, log))
    (final / CARD).write_text(model_card(student, base, trained, sources))
    unfinished = final / f"{REPORT}.unfinished"  # a student with a report is there, and the disk may be full
    unfinished.write_text(json.dumps(asdict(trained), indent=1))
    unfinished.rename(final / REPORT)


def _free_memory() -> None:
    """Give back the accelerator's memory of a trainer that is no longer used; a trainer refers to itself."""
    import torch

    gc.collect()
    torch.cuda.empty_cache()


def _report(trainer: Any, prepared: Prepared, done: Path) -> Trained:
    history = trainer.state.log_history

    def curve(name: str) -> list[tuple[int, float]]:
        return [(entry["step"], float(entry[name])) for entry in history if name in entry and "loss" in entry]

    return Trained(
        path=str(done),
        fingerprint=done.name,
        rows=prepared.counts.rows,
        dropped_rows=prepared.counts.dropped_rows,
        cut_rows=prepared.counts.cut_rows,
        steps=trainer.state.global_step,
        train_tokens=trainer.tokens_after(trainer.state.global_step),
        seconds=trainer.seconds(),
        losses=curve("loss"),
        learning_rates=curve("learning_rate"),
        gradient_norms=curve("grad_norm"),
        template=prepared.template,
        attention=trainer.attention,
    )


def _checkpoint_before(
    last: Path, processes: int, error: Exception, log: Callable[[str], None], partial: Path, sharded: bool
) -> Path | None:
    """Return the usable checkpoint before one that could not be loaded, and move that one out of the way."""
    wrong = f"{last.name} cannot be loaded, as if another version of a library had written it: {error}"
    if processes > 1:
        raise TrainingError(f"student: {wrong}. Delete {last}, and materialize again to go on from the one before it")
    log(f"student: it is passed over: {wrong}")
    unusable = last.with_name(f"unusable-{last.name}")
    shutil.rmtree(unusable, ignore_errors=True)
    last.rename(unusable)
    return last_checkpoint(partial, sharded, log)


def last_checkpoint(partial: Path, sharded: bool = False, log: Callable[[str], None] = lambda _: None) -> Path | None:
    """Return the newest usable checkpoint of a folder; None if there is none.

    A damaged checkpoint is logged and skipped, and so is one that was written with another `sharding`, from which the
    trainer cannot resume.
    """
    found = [path for path in partial.glob("checkpoint-*") if step_of(path.name) >= 0]
    for checkpoint in sorted(found, key=lambda path: -step_of(path.name)):
        if (damage := describe_damage(checkpoint)) is not None:
            log(f"student: {checkpoint.name} is passed over: {damage}")
        elif (checkpoint / _SHARDED).exists() == sharded:
            return checkpoint
        else:
            log(
                f"student: {checkpoint.name} is passed over: it was written {'without' if sharded else 'with'} sharding"
            )
    return None


def _check_agreed(last: Path | None) -> None:
    """Check that all machines fetched the same checkpoint; training from different ones would be wrong."""
    import torch.distributed

    names: list[str | None] = [None] * torch.distributed.get_world_size()
    torch.distributed.all_gather_object(names, last.name if last else "the beginning")
    if len(set(names)) > 1:
        raise TrainingError(
            f"student: processes would continue from different checkpoints ({', '.join(map(str, names))}), because one "
            "of them could not be fetched everywhere. The log above names it: delete it from the store"
        )
