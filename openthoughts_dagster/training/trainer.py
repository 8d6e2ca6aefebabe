"""TRL's trainer, set up so that a student does not depend on how many processes train it."""

import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from openthoughts_dagster.generation.model import Model, load_tokenizer
from openthoughts_dagster.recipe import Student, TrainingPreset
from openthoughts_dagster.training.batches import Batches
from openthoughts_dagster.training.errors import TrainingError


def build_trainer(
    student: Student, base: Model, dataset: Any, batches: Batches, folder: Path, log: Callable[[str], None]
) -> Any:
    """An SFTTrainer for one of `batches.processes` processes, with its checkpoints below `folder`."""
    import torch
    from datasets.utils.logging import disable_progress_bar
    from transformers import AutoModelForCausalLM, PrinterCallback, TrainerCallback
    from transformers.utils import logging
    from trl import SFTConfig, SFTTrainer

    disable_progress_bar()
    logging.disable_progress_bar()
    # TRL 1.16 itself sets the option that transformers 5.23 renames
    warnings.filterwarnings("ignore", message=".*gradient_checkpointing.*", category=FutureWarning)
    settings, accelerated = student.settings(), torch.cuda.is_available()
    arguments = SFTConfig(
        output_dir=str(folder),
        per_device_train_batch_size=batches.per_device,
        gradient_accumulation_steps=batches.accumulation,
        learning_rate=settings.learning_rate,
        num_train_epochs=settings.epochs,
        lr_scheduler_type=settings.scheduler,
        warmup_steps=settings.warmup_ratio,  # below 1 it is a share of all steps
        weight_decay=settings.weight_decay,
        bf16=settings.bf16,
        packing=settings.packing,
        max_length=settings.max_length,
        completion_only_loss=True,
        average_tokens_across_devices=True,  # a token weighs the same in whichever process it is
        save_steps=settings.save_steps,
        save_total_limit=2,
        logging_steps=5,
        logging_first_step=True,
        disable_tqdm=True,
        dataloader_pin_memory=accelerated,
        use_cpu=not accelerated and batches.processes > 1,
        ddp_find_unused_parameters=False,  # there are none, and looking for them costs time in every step
        ddp_backend=None if accelerated or batches.processes == 1 else "gloo",
        seed=student.seed,
        data_seed=student.seed,
        **_memory(settings, batches.processes),
    )
    model = AutoModelForCausalLM.from_pretrained(
        base.address, revision=base.reference.revision, dtype=getattr(torch, settings.weights)
    )
    tokenizer = load_tokenizer(base.address, base.reference.revision, base.identity.revision)
    logged = time.monotonic()

    class Progress(TrainerCallback):
        def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
            nonlocal logged
            last = state.global_step >= state.max_steps
            if logs and "loss" in logs and (last or time.monotonic() - logged > 5):
                logged = time.monotonic()
                log(f"student: step {state.global_step:,} of {state.max_steps:,}, loss {float(logs['loss']):.3f}")

    class SameBatches(SFTTrainer):
        def _get_train_sampler(self, train_dataset: Any = None) -> Any:
            steps = -(-self.real_rows // settings.global_batch_size)
            return _sampler(self.real_rows, self.padding, student.seed, lambda: self.state.global_step // steps)

    trainer = SameBatches(
        model=model, args=arguments, train_dataset=dataset, processing_class=tokenizer, callbacks=[Progress()]
    )
    if trainer.accelerator.num_processes != batches.processes or (
        batches.processes > 1 and trainer.accelerator.distributed_type == "NO"
    ):
        # every process would train a student of its own and none would say so
        raise TrainingError(
            f"student: {batches.processes} processes should train together and the trainer sees "
            f"{trainer.accelerator.state!r}. This is a bug, or accelerate was configured by ACCELERATE_* variables: "
            "unset them"
        )
    trainer.real_rows, trainer.padding = len(trainer.train_dataset), 0
    if batches.processes > 1:
        trainer.padding = -trainer.real_rows % settings.global_batch_size
        trainer.train_dataset = _with_blank_row(trainer.train_dataset)
    trainer.remove_callback(PrinterCallback)  # prints dicts to stdout, past Dagster's log
    return trainer


def _memory(settings: TrainingPreset, processes: int) -> dict[str, Any]:
    """Where weights and activations are: FSDP2 keeps of each layer one part in each process."""
    if settings.sharding == "none" or processes == 1:
        return {"gradient_checkpointing": settings.gradient_checkpointing}
    return {
        "gradient_checkpointing": False,  # FSDP does it itself, without gathering the weights twice
        "fsdp": True,
        "fsdp_config": {
            "version": 2,
            # one process writes the whole state, so that a checkpoint fits any number of processes
            "state_dict_type": "FULL_STATE_DICT",
            "activation_checkpointing": settings.gradient_checkpointing,
        },
    }


def _sampler(rows: int, padding: int, seed: int, epoch: Callable[[], int]) -> Any:
    """The rows in an order that depends on seed and epoch only, then `padding` times the blank row after the last.

    A last batch that is too small for all processes would otherwise be filled with rows from the front, which then
    count twice. Blank rows have no token to learn, and the loss is divided by the tokens of all processes.
    The epoch is asked for when one begins: accelerate's `set_epoch` does not reach the sampler of several processes
    that go on in the middle of an epoch, and they would see the first epoch's order again.
    """
    import torch

    class Order(torch.utils.data.Sampler):
        def __len__(self) -> int:
            return rows + padding

        def __iter__(self) -> Iterator[int]:
            yield from torch.randperm(rows, generator=torch.Generator().manual_seed(seed + epoch())).tolist()
            yield from [rows] * padding

    return Order()


def _with_blank_row(dataset: Any) -> Any:
    """The tokenized rows and one more, the shortest of them with nothing to learn."""
    from datasets import concatenate_datasets

    lengths = [len(ids) for ids in dataset["input_ids"]]
    blank = dataset.select([lengths.index(min(lengths))])
    blank = blank.map(lambda row: {"labels": [-100] * len(row["labels"])}, features=dataset.features)
    return concatenate_datasets([dataset, blank])
