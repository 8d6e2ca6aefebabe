"""Builds TRL's trainer so that a student does not depend on the number of processes."""

import warnings
from bisect import bisect_left
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from openthoughts_dagster.generation.model import Model, load_tokenizer
from openthoughts_dagster.recipe import Student, TrainingPreset
from openthoughts_dagster.training.batches import Batches
from openthoughts_dagster.training.callbacks import (
    check_trackers,
    progress,
    save_in_time,
    tokens_of_steps,
)
from openthoughts_dagster.training.errors import TrainingError
from openthoughts_dagster.training.kernels import (
    attention_of,
    load_weights,
    lora_config,
    memory_savers,
    stop_at,
)
from openthoughts_dagster.training.prepare import Prepared
from openthoughts_dagster.training.sharding import is_sharded, memory_arguments
from openthoughts_dagster.training.split_rows import share_rows
from openthoughts_dagster.training.student_trainer import student_trainer_class
from openthoughts_dagster.training.tokens import pack_rows, trainer_dataset

_NO_STEPS = 10**9  # steps between checkpoints if only time decides


def build_trainer(
    student: Student, base: Model, prepared: Prepared, batches: Batches, folder: Path, log: Callable[[str], None]
) -> Any:
    """Build an SFTTrainer for one of `batches.processes` processes, with its checkpoints below `folder`."""
    from transformers import PrinterCallback

    _without_warnings()
    settings, tokens = student.settings(), prepared.tokens
    check_trackers(settings.report_to)
    adapters, savers = lora_config(settings), memory_savers(settings, log)
    shared = batches.sharing > 1
    model = load_weights(base, settings.model_copy(update={"attention": "sdpa"}) if shared else settings, log)
    attention = attention_of(model) + (f", each row by {batches.sharing} processes" if shared else "")
    stop_at(model, prepared.end_token)
    packs = None
    if settings.packing:
        packs = pack_rows(tokens.lengths, max(settings.max_length, int(tokens.lengths.max())))
    items = packs if packs is not None else [[number] for number in range(len(tokens))]
    order = _shuffled(len(items), student.seed)
    count = tokens_of_steps(
        np.array([tokens.lengths[numbers].sum() for numbers in items]), settings.global_batch_size, order
    )
    operations = (6 if adapters is None else 4) * model.num_parameters()  # adapters need no gradients of the weights
    callbacks = [progress(log, count, operations, batches.processes)]
    if settings.save_steps is None:
        callbacks.append(save_in_time(settings.save_minutes))
    trainer = student_trainer_class()(
        model=model,
        args=_arguments(student, batches, folder, _step_bound(settings, count), savers),
        train_dataset=trainer_dataset(tokens, packs, blank=batches.processes > 1),
        processing_class=load_tokenizer(base.address, base.reference.revision, base.identity.revision),
        peft_config=adapters,
        callbacks=callbacks,
    )
    _check_together(trainer, batches)
    if shared:
        trainer.split = share_rows(model, batches.sharing, settings.bf16, trainer.accelerator.device)
        trainer.data_collator = trainer.split.collator(trainer.data_collator)
    trainer.autocast = settings.bf16 and is_sharded(settings, batches.processes)
    trainer.items, trainer.order, trainer.tokens, trainer.tokens_after = items, order, tokens, count
    trainer.batch, trainer.attention = settings.global_batch_size, attention
    trainer.padding = -len(items) % trainer.batch if batches.processes > 1 else 0
    trainer.remove_callback(PrinterCallback)  # prints dicts to stdout, past Dagster's log
    return trainer


def _step_bound(settings: TrainingPreset, tokens_after: Callable[[int], int]) -> int:
    """Return the largest number of steps; -1 if epochs bound the training."""
    if settings.tokens is None:
        return settings.steps or -1
    longest = 1
    while tokens_after(longest) < settings.tokens:
        longest *= 2
    return bisect_left(range(longest + 1), settings.tokens, key=tokens_after)


def _arguments(student: Student, batches: Batches, folder: Path, steps: int, savers: dict[str, Any]) -> Any:
    import torch
    from trl import SFTConfig

    settings, accelerated = student.settings(), torch.cuda.is_available()
    return SFTConfig(
        output_dir=str(folder),
        per_device_train_batch_size=batches.per_device,
        gradient_accumulation_steps=batches.accumulation,
        learning_rate=settings.learning_rate,
        num_train_epochs=settings.epochs or 1.0,
        max_steps=steps,
        lr_scheduler_type=settings.scheduler,
        warmup_steps=settings.warmup_ratio,  # below 1 it is a share of all steps
        weight_decay=settings.weight_decay,
        bf16=settings.bf16 and not is_sharded(settings, batches.processes),
        packing=settings.packing,
        max_length=settings.max_length,
        dataset_kwargs={"skip_prepare_dataset": True},  # rows are tokenized and packed already
        remove_unused_columns=False,  # the dataset reads its columns when they are asked for
        completion_only_loss=True,
        average_tokens_across_devices=True,  # a token weighs the same in whichever process it is
        save_steps=settings.save_steps or _NO_STEPS,
        save_total_limit=2,
        logging_steps=5,
        logging_first_step=True,
        logging_nan_inf_filter=False,  # it would show the loss of the step before
        disable_tqdm=True,
        dataloader_pin_memory=accelerated,
        use_cpu=not accelerated and (batches.processes > 1 or settings.bf16),
        ddp_find_unused_parameters=False,  # there are none, and looking for them costs time in every step
        ddp_backend=None if accelerated or batches.processes == 1 else "gloo",
        seed=student.seed,
        data_seed=student.seed,
        report_to=list(settings.report_to),
        **memory_arguments(settings, batches.processes),
        **savers,
    )


def _check_together(trainer: Any, batches: Batches) -> None:
    if trainer.accelerator.num_processes != batches.processes or (
        batches.processes > 1 and trainer.accelerator.distributed_type == "NO"
    ):
        # every process would silently train a student of its own
        raise TrainingError(
            f"student: {batches.processes} processes should train together and the trainer sees "
            f"{trainer.accelerator.state!r}. This is a bug, or accelerate was configured by ACCELERATE_* variables: "
            "unset them"
        )


def _shuffled(items: int, seed: int) -> Callable[[int], list[int]]:
    """Return a function from an epoch to the order of its items."""

    @lru_cache(maxsize=2)
    def order(epoch: int) -> list[int]:
        import torch

        found: list[int] = torch.randperm(items, generator=torch.Generator().manual_seed(seed + epoch)).tolist()
        return found

    return order


def _without_warnings() -> None:
    from datasets.utils.logging import disable_progress_bar
    from transformers.utils import logging

    disable_progress_bar()
    logging.disable_progress_bar()
    # TRL 1.16 itself sets the option that transformers 5.23 renames
    warnings.filterwarnings("ignore", message=".*gradient_checkpointing.*", category=FutureWarning)
    # its successor, transformers' use_kernels, downloads kernels from the hub while a training starts
    warnings.filterwarnings("ignore", message=".*use_liger_kernel.*", category=FutureWarning)
