"""Callbacks of the trainer: log the progress, save checkpoints by time, and stop at a loss that is not finite."""

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from openthoughts_dagster.training.errors import TrainingError

_SAID_EVERY = 5.0  # seconds
_PEAK_FLOPS = {"H100": 989e12, "H200": 989e12, "B200": 2250e12, "A100": 312e12, "L40S": 362e12, "L4": 121e12}
"""Dense bfloat16 operations a second by the name of an accelerator, from its maker's data sheet."""


def progress(log: Callable[[str], None], tokens_after: Callable[[int], int], operations: int, processes: int) -> Any:
    """Make a TrainerCallback that logs step, loss, tokens per second and the time left; on a known GPU also the MFU.

    Args:
        log: Takes the lines.
        tokens_after: Returns the tokens that were trained on after a number of steps.
        operations: The number of operations that training on a token takes, which the MFU counts.
        processes: The number of processes that train.
    """
    from transformers import TrainerCallback

    said = begun = time.monotonic()
    first = 0

    class Progress(TrainerCallback):
        def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            nonlocal begun, first
            begun, first = time.monotonic(), state.global_step

        def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
            nonlocal said
            now, last = time.monotonic(), state.global_step >= state.max_steps
            if not logs or "loss" not in logs or not (last or now - said > _SAID_EVERY):
                return
            said, done = now, state.global_step - first
            rate = (tokens_after(state.global_step) - tokens_after(first)) / max(now - begun, 1e-9)
            left = (now - begun) / max(done, 1) * (state.max_steps - state.global_step)
            line = f"student: step {state.global_step:,} of {state.max_steps:,}, loss {float(logs['loss']):.3f}"
            line += f", {rate:,.0f} tokens/s" + ("" if last else f", {_format_duration(left)} left")
            peak = peak_flops()
            line += f", MFU {operations * rate / processes / peak:.0%}" if peak else ""
            log(line)

    return Progress()


def peak_flops() -> float | None:
    """Return the dense bfloat16 operations a second of this machine's accelerator; None if it is not known."""
    import torch

    if not torch.cuda.is_available():
        return None
    name = torch.cuda.get_device_name()
    return next((peak for known, peak in _PEAK_FLOPS.items() if known in name), None)


def _format_duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def save_in_time(minutes: float) -> Any:
    """Make a TrainerCallback that saves a checkpoint every `minutes`, in all processes at the same step."""
    import torch
    from transformers import TrainerCallback

    saved = time.monotonic()

    class SaveInTime(TrainerCallback):
        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            due = [time.monotonic() - saved >= 60 * minutes]
            if torch.distributed.is_available() and torch.distributed.is_initialized():
                torch.distributed.broadcast_object_list(due, src=0)  # the clocks of the processes differ
            control.should_save = control.should_save or due[0]

        def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            nonlocal saved
            saved = time.monotonic()

    return SaveInTime()


def check_trackers(names: Sequence[str]) -> None:
    """Raise TrainingError if a tracker that a training should report to is not installed."""
    from transformers.integrations import get_available_reporting_integrations

    installed = get_available_reporting_integrations()
    if missing := [name for name in names if name not in installed]:
        raise TrainingError(
            f"student: training.report_to names {' and '.join(missing)}, which is not installed: pip install "
            f"{' '.join(missing)}, or remove it from report_to"
        )


def first_not_finite(losses: Sequence[Any], gradient_norm: Any) -> str:
    """Return what in a step is not finite; empty if everything is. It reads the accelerator only once."""
    import torch

    norm = torch.as_tensor(gradient_norm, dtype=torch.float32) if gradient_norm is not None else torch.zeros(())
    device = losses[0].device if losses else norm.device
    if hasattr(norm, "full_tensor"):
        norm = norm.full_tensor()
    numbers = torch.stack([*(loss.detach().float().reshape(()) for loss in losses), norm.to(device).reshape(())])
    if bool(numbers.isfinite().all()):
        return ""
    values = numbers.tolist()
    broken = [value for value in values[:-1] if not np.isfinite(value)]
    return f"the loss is {broken[0]}" if broken else f"the norm of the gradient is {values[-1]}"


def check_finite_weights(folder: Path) -> None:
    """Raise TrainingError if a weight of a checkpoint is not finite, so that no such student is published."""
    import torch
    from safetensors import safe_open

    files = sorted(folder.glob("*.safetensors"))
    if not files:
        raise TrainingError(f"student: there are no weights in {folder}, and it is not published")
    for file in files:
        with safe_open(file, framework="pt") as weights:
            for name in weights.keys():  # noqa: SIM118 - it is no mapping
                if not bool(torch.isfinite(weights.get_tensor(name)).all()):
                    raise TrainingError(
                        f"student: the weights {name} are not all finite numbers after training, and it is not "
                        "published. Lower training.learning_rate, or look at the rows of the last steps"
                    )


def tokens_of_steps(
    lengths: npt.NDArray[np.int64], batch: int, order: Callable[[int], list[int]]
) -> Callable[[int], int]:
    """Return a function from a number of steps to the tokens that they train on.

    Args:
        lengths: Tokens of each item.
        batch: Items in a step.
        order: Returns the order of the items in an epoch.
    """
    whole, steps = int(lengths.sum()), -(-len(lengths) // batch)

    def count(done: int) -> int:
        epochs, rest = divmod(done, steps)
        return epochs * whole + (int(lengths[order(epochs)[: rest * batch]].sum()) if rest else 0)

    return count
