"""Supervised fine-tuning with TRL, kept by fingerprint and resumed where it was interrupted."""

import json
import shutil
import time
import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import polars as pl

from openthoughts_dagster.generation.model import Model, load_tokenizer
from openthoughts_dagster.generation.requests import messages_for
from openthoughts_dagster.lake import frame_hash, value_hash
from openthoughts_dagster.recipe import Student, TrainingPreset

_REPORT = "training.json"
# They change how fast a student is trained, not what it learns.
_NOT_LEARNED = {"per_device_batch_size", "gradient_checkpointing", "save_steps"}


class TrainingError(RuntimeError):
    """A training that cannot be done: says for what, why, and what to change."""


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


def train_student(
    student: Student, base: Model, rows: pl.DataFrame, folder: Path, log: Callable[[str], None]
) -> Trained:
    """Fine-tune `base` on `rows` (question, text) and leave a checkpoint folder below `folder`.

    The same base, rows and settings have the same fingerprint and are trained once; an interrupted training goes
    on from its last checkpoint. A folder without `.partial` in its name is always complete. Raises TrainingError
    when no row is left to train on.
    """
    settings = student.settings()
    recipe = {
        "base": base.identity.partition,
        "rows": frame_hash(rows.select("question", "text").with_row_index("position")),
        "settings": settings.model_dump(exclude=_NOT_LEARNED),
        "too_long": student.too_long,
        "system_prompt": student.system_prompt,
        "seed": student.seed,
    }
    fingerprint = value_hash(recipe)
    done, partial = folder / fingerprint, folder / f"{fingerprint}.partial"
    if done.is_dir():
        shutil.rmtree(partial, ignore_errors=True)
        return Trained(**(json.loads((done / _REPORT).read_text()) | {"path": str(done), "reused": True}))
    dataset, tokens, dropped = _dataset(student, settings, base, rows)
    start = time.monotonic()
    trainer = _trainer(student, settings, base, dataset, partial, log)
    last = _last_checkpoint(partial)
    if last is not None:
        log(f"student: going on from {last.name}")
    trainer.train(resume_from_checkpoint=str(last) if last else None)
    final = partial / "final"
    trainer.save_model(str(final))
    trained = Trained(
        path=str(done),
        fingerprint=fingerprint,
        rows=rows.height - dropped,
        dropped_rows=dropped,
        steps=trainer.state.global_step,
        train_tokens=round(tokens * settings.epochs),
        seconds=time.monotonic() - start,
        losses=[(entry["step"], float(entry["loss"])) for entry in trainer.state.log_history if "loss" in entry],
    )
    (final / _REPORT).write_text(json.dumps(asdict(trained), indent=1))
    final.rename(done)
    shutil.rmtree(partial)
    return trained


def _dataset(student: Student, settings: TrainingPreset, base: Model, rows: pl.DataFrame) -> tuple[Any, int, int]:
    """Prompt/completion rows as TRL takes them, their tokens, and how many rows were too long."""
    from datasets import Dataset

    tokenizer = load_tokenizer(base.address, base.reference.revision, base.identity.revision)
    examples, tokens, dropped = [], 0, 0
    for question, text in rows.select("question", "text").iter_rows():
        prompt = list(messages_for(student, question))
        completion = [{"role": "assistant", "content": text}]
        length = len(tokenizer.apply_chat_template(prompt + completion, tokenize=True, return_dict=False))
        if length > settings.max_length and student.too_long == "drop":
            dropped += 1
            continue
        examples.append({"prompt": prompt, "completion": completion})
        tokens += min(length, settings.max_length)
    if not examples:
        raise TrainingError(
            f"student: no row to train on: {rows.height:,} answers, {dropped:,} of them longer than max_length "
            f"{settings.max_length:,} tokens. Look at teacher_answers and rejected_answers of this partition, or "
            "raise student.training.max_length"
        )
    return Dataset.from_list(examples), tokens, dropped


def _trainer(
    student: Student, settings: TrainingPreset, base: Model, dataset: Any, partial: Path, log: Callable[[str], None]
) -> Any:
    import torch
    from datasets.utils.logging import disable_progress_bar
    from transformers import AutoModelForCausalLM, PrinterCallback, TrainerCallback
    from transformers.utils import logging
    from trl import SFTConfig, SFTTrainer

    disable_progress_bar()
    logging.disable_progress_bar()
    # TRL 1.16 itself sets the option that transformers 5.23 renames
    warnings.filterwarnings("ignore", message=".*gradient_checkpointing.*", category=FutureWarning)
    per_device = min(settings.per_device_batch_size, settings.global_batch_size)
    devices = max(1, torch.cuda.device_count())
    arguments = SFTConfig(
        output_dir=str(partial),
        per_device_train_batch_size=per_device,
        gradient_accumulation_steps=max(1, settings.global_batch_size // (per_device * devices)),
        learning_rate=settings.learning_rate,
        num_train_epochs=settings.epochs,
        lr_scheduler_type=settings.scheduler,
        warmup_steps=settings.warmup_ratio,  # below 1 it is a share of all steps
        weight_decay=settings.weight_decay,
        bf16=settings.bf16,
        gradient_checkpointing=settings.gradient_checkpointing,
        packing=settings.packing,
        max_length=settings.max_length,
        completion_only_loss=True,
        save_steps=settings.save_steps,
        save_total_limit=2,
        logging_steps=5,
        logging_first_step=True,
        disable_tqdm=True,
        dataloader_pin_memory=torch.cuda.is_available(),
        seed=student.seed,
        data_seed=student.seed,
    )
    dtype = torch.bfloat16 if settings.bf16 and torch.cuda.is_available() else torch.float32
    model = AutoModelForCausalLM.from_pretrained(base.address, revision=base.reference.revision, dtype=dtype)
    tokenizer = load_tokenizer(base.address, base.reference.revision, base.identity.revision)
    logged = time.monotonic()

    class Progress(TrainerCallback):
        def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
            nonlocal logged
            last = state.global_step >= state.max_steps
            if logs and "loss" in logs and (last or time.monotonic() - logged > 5):
                logged = time.monotonic()
                log(f"student: step {state.global_step:,} of {state.max_steps:,}, loss {float(logs['loss']):.3f}")

    trainer = SFTTrainer(
        model=model, args=arguments, train_dataset=dataset, processing_class=tokenizer, callbacks=[Progress()]
    )
    trainer.remove_callback(PrinterCallback)  # prints dicts to stdout, past Dagster's log
    return trainer


def _last_checkpoint(partial: Path) -> Path | None:
    """The newest complete checkpoint: the trainer writes its state file last."""
    for checkpoint in sorted(partial.glob("checkpoint-*"), key=lambda path: -int(path.name.rpartition("-")[2])):
        try:
            json.loads((checkpoint / "trainer_state.json").read_text())
        except (OSError, json.JSONDecodeError):
            continue
        return checkpoint
    return None
