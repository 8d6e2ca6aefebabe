"""Splits a global batch between the processes of a training."""

from dataclasses import dataclass

from openthoughts_dagster.recipe import TrainingPreset
from openthoughts_dagster.training.errors import TrainingError


@dataclass(frozen=True)
class Batches:
    """Rows per process and pass, passes per optimizer step, processes, and how many processes share each row.

    The global batch is `per_device` x `accumulation` x `processes` / `sharing`.
    """

    per_device: int
    accumulation: int
    processes: int
    sharing: int = 1


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
    whole, sharing = settings.global_batch_size, settings.context_parallel if processes > 1 else 1
    if processes % sharing:
        raise TrainingError(
            f"student: training.context_parallel is {sharing}, which does not divide {processes} processes: set it to "
            "a number that does, or train on a multiple of it (hardware.count x hardware.nodes)"
        )
    groups, name = processes // sharing, "processes" if sharing == 1 else f"groups of {sharing} processes"
    if whole % groups:
        fitting = [count for count in range(1, whole + 1) if whole % count == 0]
        near = [max(c for c in fitting if c < groups), *[c for c in fitting if c > groups][:1]]
        raise TrainingError(
            f"student: a global batch of {whole} rows cannot be split between {groups} {name}: train on "
            f"{' or '.join(str(c * sharing) for c in near)} (hardware.count x hardware.nodes), or set "
            f"training.global_batch_size to a multiple of {groups}"
        )
    share = whole // groups
    per_device = min(settings.per_device_batch_size, share)
    if share % per_device:
        best = max(count for count in range(1, per_device + 1) if share % count == 0)
        raise TrainingError(
            f"student: each of {groups} {name} trains on {share} rows an optimizer step, which "
            f"per_device_batch_size {per_device} does not divide: set training.per_device_batch_size to {best}"
        )
    return Batches(per_device, share // per_device, processes, sharing)
