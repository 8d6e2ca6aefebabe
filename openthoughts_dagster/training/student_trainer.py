"""TRL's trainer with the order of rows, the checks and the errors of a student."""

import shutil
import time
from collections.abc import Callable, Iterator
from itertools import chain
from typing import Any

from openthoughts_dagster.training.callbacks import first_not_finite
from openthoughts_dagster.training.errors import TrainingError
from openthoughts_dagster.training.sharding import check_sharded, shard_on_cpu
from openthoughts_dagster.training.split_rows import SplitRows, repeat_batches


def student_trainer_class() -> Any:
    """Make the class only when TRL is needed, because importing TRL takes seconds."""
    import torch
    from safetensors import SafetensorError
    from trl import SFTTrainer

    class StudentTrainer(SFTTrainer):
        items: list[list[int]]
        padding = 0
        begun = False
        split: SplitRows | None = None
        autocast = False
        _losses: tuple[Any, ...] = ()
        _seconds_before = 0.0
        _begun = 0.0

        def create_accelerator_and_postprocess(self) -> None:
            super().create_accelerator_and_postprocess()
            if self.args.fsdp and self.accelerator.device.type == "cpu":
                shard_on_cpu(self)

        def autocast_smart_context_manager(self, cache_enabled: bool | None = True) -> Any:
            if not self.autocast:
                return super().autocast_smart_context_manager(cache_enabled)
            # a cache would keep copies of the weights of all layers, which are gathered one at a time
            return torch.autocast(self.accelerator.device.type, torch.bfloat16, cache_enabled=False)

        def _get_train_sampler(self, train_dataset: Any = None) -> Any:
            steps = -(-len(self.items) // self.batch)
            sharing = 1 if self.split is None else self.split.size
            return make_sampler(
                len(self.items),
                self.padding,
                self.order,
                lambda: self.state.global_step // steps,
                self.args.per_device_train_batch_size,
                sharing,
            )

        def _prepare_for_training(self, *arguments: Any, **more: Any) -> Any:
            prepared = super()._prepare_for_training(*arguments, **more)
            if self.args.fsdp:
                check_sharded(self.model)
            self._begun = time.monotonic()
            spent = [entry["seconds"] for entry in self.state.log_history if "seconds" in entry]
            self._seconds_before = spent[-1] if spent else 0.0
            return prepared

        def _run_epoch(self, *arguments: Any, **more: Any) -> None:
            """Train no step after the last one: transformers does if it resumes there in the middle of an epoch."""
            if self.state.global_step >= self.state.max_steps:
                self.control.should_training_stop = True
            else:
                super()._run_epoch(*arguments, **more)

        def training_step(self, *arguments: Any, **more: Any) -> Any:
            self.begun = True
            loss = super().training_step(*arguments, **more)
            self._losses = (*self._losses, loss)
            return loss

        def _get_grad_norm(self, model: Any, grad_norm: Any = None) -> Any:
            norm = super()._get_grad_norm(model, grad_norm=grad_norm)
            losses, self._losses = self._losses, ()
            if wrong := first_not_finite(losses, norm if grad_norm is None else grad_norm):
                raise TrainingError(self._not_finite(wrong))
            if self.split is not None:
                self.split.check_layers(self.model.config.get_text_config().num_hidden_layers)
            return norm

        def _not_finite(self, wrong: str) -> str:
            steps = -(-len(self.items) // self.batch)
            epoch, step = divmod(self.state.global_step, steps)
            numbers = [n for item in self.order(epoch)[step * self.batch :][: self.batch] for n in self.items[item]]
            rows = ", ".join(str(self.tokens.origin(number)) for number in numbers[:20])
            return (
                f"student: {wrong} at step {self.state.global_step + 1:,}, and training stopped before it changed a "
                f"weight. The step is of {len(numbers):,} rows (numbers from 0 in the training rows): {rows}"
                f"{', ...' if len(numbers) > 20 else ''}. The last good checkpoint is kept. Lower "
                "training.learning_rate, or look at these rows"
            )

        def _save_checkpoint(self, *arguments: Any, **more: Any) -> None:
            try:
                super()._save_checkpoint(*arguments, **more)
            except (OSError, RuntimeError, SafetensorError) as error:
                if isinstance(error, TrainingError | torch.OutOfMemoryError):
                    raise
                free = shutil.disk_usage(self.args.output_dir).free / 2**30
                raise TrainingError(
                    f"student: the checkpoint of step {self.state.global_step:,} could not be written below "
                    f"{self.args.output_dir}, where {free:,.1f} GiB are free: {error}. The last good checkpoint is "
                    "kept: make room (`disk` of the student's hardware) and materialize again to go on from it"
                ) from error

        def _save(self, output_dir: str | None = None, state_dict: Any = None) -> None:
            """Save tied weights once; weights that were gathered from all processes are there twice."""
            if state_dict is not None:
                tied = dict(getattr(self.model, "all_tied_weights_keys", None) or {})
                twice = {name for name, source in tied.items() if source in state_dict}
                state_dict = {name: weight for name, weight in state_dict.items() if name not in twice}
            super()._save(output_dir, state_dict)

        def seconds(self) -> float:
            """Return the seconds of training until now, of all attempts that left checkpoints."""
            return self._seconds_before + time.monotonic() - self._begun

        def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
            logs["seconds"] = self.seconds()
            super().log(logs, start_time)

    return StudentTrainer


def make_sampler(
    items: int,
    padding: int,
    order: Callable[[int], list[int]],
    epoch: Callable[[], int],
    batch: int = 1,
    sharing: int = 1,
) -> Any:
    """Make a sampler whose order depends only on seed and epoch, followed by `padding` blank items.

    If `sharing` processes share rows, each batch is there as many times.

    A last batch that is too small for all processes would otherwise be filled with rows from the front, which would
    then count twice. Blank rows have no labels, and the loss is divided by the tokens of all processes. The epoch is
    read when it begins, because accelerate's `set_epoch` does not reach the sampler of several processes that resume
    in the middle of an epoch; they would see the order of the first epoch again.
    """
    import torch

    class Order(torch.utils.data.Sampler):
        def __len__(self) -> int:
            return (items + padding) * sharing

        def __iter__(self) -> Iterator[int]:
            return repeat_batches(chain(order(epoch()), [items] * padding), batch, sharing)

    return Order()
