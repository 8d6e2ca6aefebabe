"""The trainings that `gpu_report.py` measures: ours under given settings, and a bare TRL script.

    python benchmarks/gpu_trainings.py FUNCTION MODEL ROWS FOLDER LENGTH STEPS ...

It prints the figures of one training as JSON.
"""

import json
import sys
import time
from pathlib import Path
from typing import Any

from generation_engines import _peak
from training import save_model

QWEN_05B = {
    "hidden_size": 896,
    "intermediate_size": 4864,
    "num_hidden_layers": 24,
    "num_attention_heads": 14,
    "num_key_value_heads": 2,
    "vocab_size": 151_936,
    "tie_word_embeddings": True,
    "max_position_embeddings": 32_768,
}
TINY = {
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
    "vocab_size": 9_000,
    "tie_word_embeddings": True,
    "max_position_embeddings": 1024,
}
BATCH = 4  # rows of a step, in passes of one
FIRST = 2  # steps that are not counted: kernels are chosen and memory is allocated in them


def build_model(folder: Path, tiny: bool) -> None:
    """Write a model with random weights, and a tokenizer that has a token for every row of its embedding."""
    import torch
    from transformers import AutoTokenizer, Qwen2Config, Qwen2ForCausalLM

    save_model(folder)
    sizes, tokenizer = TINY if tiny else QWEN_05B, AutoTokenizer.from_pretrained(folder)
    ends = {"eos_token_id": tokenizer.eos_token_id, "pad_token_id": tokenizer.pad_token_id, "bos_token_id": None}
    torch.manual_seed(0)
    Qwen2ForCausalLM(Qwen2Config(**sizes, **ends)).save_pretrained(folder)
    file = folder / "tokenizer.json"
    content = json.loads(file.read_text())
    vocabulary = content["model"]["vocab"]
    vocabulary |= {f"unused{number}": number for number in range(len(tokenizer), int(sizes["vocab_size"]))}
    file.write_text(json.dumps(content))


def train_ours(model: str, rows: str, folder: str, length: str, steps: str, settings: str) -> dict[str, Any]:
    """Train as a student is trained, under the settings in JSON."""
    from openthoughts_dagster.generation.model import locate
    from openthoughts_dagster.recipe import Student
    from openthoughts_dagster.training.batches import split_batch
    from openthoughts_dagster.training.prepare import prepare_rows
    from openthoughts_dagster.training.trainer import build_trainer

    training = {
        "global_batch_size": BATCH,
        "learning_rate": 1e-5,
        "steps": int(steps),
        "max_length": int(length),
        "bf16": True,
        **json.loads(settings),
    }
    student = Student.model_validate({"name": "s", "model": model, "too_long": "truncate", "training": training})
    base = locate(student, Path())
    prepared = prepare_rows(student, base, Path(rows), Path(folder) / "tokens", lambda _: None)
    if any(json.loads(settings).get(name) for name in ("liger", "activation_offloading")) and not is_accelerated():
        raise RuntimeError("it needs an accelerator")
    trainer = build_trainer(student, base, prepared, split_batch(student.settings(), 1), Path(folder), lambda _: None)
    return _timed(trainer, int(length)) | {"attention": trainer.attention}


def train_together(
    model: str, rows: str, folder: str, length: str, steps: str, processes: str, settings: str
) -> dict[str, Any]:
    """Train as the asset does, in several processes, under the settings in JSON; the first steps count as well."""
    import polars as pl

    from openthoughts_dagster.generation.model import locate
    from openthoughts_dagster.recipe import Student
    from openthoughts_dagster.training import Students, train_student

    training = {
        "global_batch_size": max(BATCH, int(processes)),
        "learning_rate": 1e-5,
        "steps": int(steps),
        "max_length": int(length),
        "shown_answers": 0,
        **json.loads(settings),
    }
    raw = {"name": "s", "model": model, "too_long": "truncate", "engine": "transformers", "training": training}
    student, students = (
        Student.model_validate(raw),
        Students(f"{folder}/students", Path(folder), Path(folder) / "cache"),
    )
    base, data = locate(student, Path()), pl.scan_parquet(rows)
    trained = train_student(student, base, data, students, lambda _: None, processes=int(processes))
    return {"tokens_per_second": trained.train_tokens / trained.seconds, "attention": trained.attention}


def train_trl(model: str, rows: str, folder: str, length: str, steps: str, _: str) -> dict[str, Any]:
    """Train with SFTTrainer, the same batches and no setting of ours."""
    import polars as pl
    from datasets import Dataset
    from trl import SFTConfig, SFTTrainer

    examples = [
        {"prompt": [{"role": "user", "content": question}], "completion": [{"role": "assistant", "content": text}]}
        for question, text in pl.read_parquet(rows).iter_rows()
    ]
    arguments = SFTConfig(
        output_dir=folder,
        per_device_train_batch_size=1,
        gradient_accumulation_steps=BATCH,
        learning_rate=1e-5,
        max_steps=int(steps),
        max_length=int(length),
        bf16=True,
        use_cpu=not is_accelerated(),
        disable_tqdm=True,
        save_strategy="no",
        report_to="none",
    )
    return _timed(SFTTrainer(model, args=arguments, train_dataset=Dataset.from_list(examples)), int(length))


def _timed(trainer: Any, length: int) -> dict[str, Any]:
    """Train and return tokens per second after the first steps, utilisation and the most memory."""
    import torch
    from transformers import TrainerCallback

    from openthoughts_dagster.training.callbacks import peak_flops

    times: list[float] = []

    class StepTimes(TrainerCallback):
        def on_step_end(self, *_: Any, **__: Any) -> None:
            if is_accelerated():
                torch.cuda.synchronize()
            times.append(time.monotonic())

    trainer.add_callback(StepTimes())
    config = trainer.model.config
    weights = sum(weight.numel() for weight in trainer.model.parameters())
    adapted = any(not weight.requires_grad for weight in trainer.model.parameters())
    operations = (4 if adapted else 6) * weights + 6 * config.num_hidden_layers * length * config.hidden_size
    trainer.train()
    rate = BATCH * length * (len(times) - FIRST) / (times[-1] - times[FIRST - 1])
    peak = peak_flops()
    return {
        "tokens_per_second": rate,
        "mfu": operations * rate / peak if peak else None,
        "gigabytes": torch.cuda.max_memory_allocated() / 1e9 if is_accelerated() else _peak(),
    }


def accelerators() -> int:
    """Return the number of accelerators of this machine."""
    import torch

    return int(torch.cuda.device_count()) if is_accelerated() else 0


def is_accelerated() -> bool:
    import torch

    return bool(torch.cuda.is_available())


if __name__ == "__main__":
    print(json.dumps(globals()[sys.argv[1]](*sys.argv[2:])))
