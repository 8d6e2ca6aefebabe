"""Splits a global batch between the processes of a training."""

from dataclasses import dataclass

from openthoughts_dagster.recipe import TrainingPreset
from openthoughts_dagster.training.errors import TrainingError


@dataclass(frozen=True)
class Batches:
    """Rows per process and pass, passes per optimizer step, and processes; their product is the global batch."""

    per_device: int
    accumulation: int
    processes: int


def split_batch(settings: TrainingPreset, processes: int) -> Batches:
    """Split `global_batch_size` rows exactly between processes, because another batch size makes another student.

    Args:
        settings: The student's settings, which have the batch sizes.
        processes: The number of processes on all machines together.

    Returns:
        Rows per process and pass, and passes per optimizer step.

    Raises:
        TrainingError: The rows cannot be split evenly; the message says which numbers work.
    """
    whole = settings.global_batch_size
    if whole % processes:
        fitting = [count for count in range(1, whole + 1) if whole % count == 0]
        near = [max(c for c in fitting if c < processes), *[c for c in fitting if c > processes][:1]]
        raise TrainingError(
            f"student: a global batch of {whole} rows cannot be split between {processes} processes: train on "
            f"{' or '.join(map(str, near))} (hardware.count x hardware.nodes), or set training.global_batch_size to a "
            f"multiple of {processes}"
        )
    share = whole // processes
    per_device = min(settings.per_device_batch_size, share)
    if share % per_device:
        best = max(count for count in range(1, per_device + 1) if share % count == 0)
        raise TrainingError(
            f"student: each of {processes} processes trains on {share} rows an optimizer step, which "
            f"per_device_batch_size {per_device} does not divide: set training.per_device_batch_size to {best}"
        )
    return Batches(per_device, share // per_device, processes)
