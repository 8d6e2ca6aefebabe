"""What every process of a training does, be it one or many."""

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import polars as pl

from openthoughts_dagster.generation.model import Model
from openthoughts_dagster.recipe import Student
from openthoughts_dagster.training.batches import split_batch
from openthoughts_dagster.training.checkpoints import StoredTraining
from openthoughts_dagster.training.dataset import training_dataset
from openthoughts_dagster.training.errors import TrainingError
from openthoughts_dagster.training.students import REPORT
from openthoughts_dagster.training.trainer import build_trainer

FINAL = "final"
_SHARDED = "pytorch_model_fsdp.bin"  # weights as FSDP's checkpoints have them


@dataclass(frozen=True)
class Trained:
    """A trained student: where it is, what made it, and how the loss went. `reused` when it was trained before."""

    path: str
    fingerprint: str
    rows: int
    dropped_rows: int
    steps: int
    train_tokens: int
    seconds: float
    losses: list[tuple[int, float]]
    reused: bool = False

    @classmethod
    def from_report(cls, report: Mapping[str, Any], path: str, reused: bool) -> "Trained":
        """What a student's report says, also one of an older or newer version, which has other fields."""
        names = {field.name for field in fields(cls)}
        return cls(
            **({name: value for name, value in report.items() if name in names} | {"path": path, "reused": reused})
        )


def run_training(
    student: Student,
    base: Model,
    rows: pl.DataFrame,
    partial: Path,
    processes: int,
    log: Callable[[str], None],
    stored: StoredTraining | None = None,
) -> None:
    """Train in this process, one of `processes`, and leave weights and report in `partial`/final.

    Goes on from the last whole checkpoint below `partial`; its checkpoints are uploaded to `stored`. Raises
    TrainingError.
    """
    batches, start = split_batch(student.settings(), processes), time.monotonic()
    dataset, tokens, dropped = training_dataset(student, base, rows)
    trainer = build_trainer(student, base, dataset, batches, partial, log)
    if stored is not None:
        trainer.add_callback(stored.uploads(partial, log))
    last = last_checkpoint(partial, trainer.is_fsdp_enabled)
    if processes > 1:
        _check_agreed(last)
    if last is not None:
        log(f"student: going on from {last.name}")
    trainer.train(resume_from_checkpoint=str(last) if last else None)
    final = partial / FINAL
    trainer.save_model(str(final))  # of every process: each has a part of the weights where they are sharded
    if not trainer.is_world_process_zero():
        return
    done = partial.with_suffix("")
    trained = Trained(
        path=str(done),
        fingerprint=done.name,
        rows=rows.height - dropped,
        dropped_rows=dropped,
        steps=trainer.state.global_step,
        train_tokens=round(tokens * student.settings().epochs),
        seconds=time.monotonic() - start,
        losses=[(entry["step"], float(entry["loss"])) for entry in trainer.state.log_history if "loss" in entry],
    )
    (final / REPORT).write_text(json.dumps(asdict(trained), indent=1))


def last_checkpoint(partial: Path, sharded: bool = False) -> Path | None:
    """The newest complete checkpoint: the trainer writes its state file last.

    One that was written with the other `sharding` is passed over: the trainer cannot go on from it.
    """
    for checkpoint in sorted(partial.glob("checkpoint-*"), key=lambda path: -int(path.name.rpartition("-")[2])):
        try:
            json.loads((checkpoint / "trainer_state.json").read_text())
        except (OSError, json.JSONDecodeError):
            continue
        if (checkpoint / _SHARDED).exists() != sharded:
            continue
        return checkpoint
    return None


def _check_agreed(last: Path | None) -> None:
    """Machines fetch checkpoints each for itself: from different ones they would train nothing that anybody wants."""
    import torch.distributed

    names: list[str | None] = [None] * torch.distributed.get_world_size()
    torch.distributed.all_gather_object(names, last.name if last else "the beginning")
    if len(set(names)) > 1:
        raise TrainingError(
            f"student: processes would go on from different places: {', '.join(map(str, names))}. A checkpoint could "
            "not be fetched everywhere: see above, and delete it from the store"
        )
