"""Benchmarks of preparing and training students, beside TRL's own way: `python benchmarks/training.py [MILLIONS ...]`.

Each measurement runs in a process of its own, so that its memory is its own; each ratio is of processes that ran one
after the other, by turns. `prepare_cpu_over_trl` compares seconds of processors instead of seconds, which other work on
the machine disturbs less. MILLIONS are the tokens of the preparations whose memory is measured, 10 and 100 at first.
"""

import json
import os
import random
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

ROW_TOKENS = 12_000
COMPARED_TOKENS = 2_400_000
TRAINED_ROWS = 240
ROUNDS = 3
CORES = 2


def texts(rows: int, words: int) -> Iterator[tuple[str, str]]:
    """Questions and traces of so many words."""
    chance = random.Random(0)
    lexicon = ["".join(chance.choices("abcdefghijklmnopqrstuvwxyz", k=chance.randint(2, 9))) for _ in range(4000)]
    for number in range(rows):
        trace = " ".join(chance.choices(lexicon, k=words))
        yield f"What is word {number}?", f"<think>\n{trace}\n</think>\n\nIt is {number}."


def save_model(folder: Path) -> None:
    """A small Qwen2 with random weights, and a tokenizer of 8,000 tokens with Qwen2.5's chat template."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast, Qwen2Config, Qwen2ForCausalLM
    from trl.chat_template_utils import qwen2_5_chat_template

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=8000, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False
    )
    tokenizer.train_from_iterator((text for _, text in texts(20, 4000)), trainer)
    tokenizer.add_special_tokens(["<|im_start|>", "<|im_end|>"])
    tokenizer.add_tokens([AddedToken(tag, normalized=False) for tag in ("<think>", "</think>")])
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<|im_end|>", pad_token="<|im_end|>")
    fast.chat_template = qwen2_5_chat_template
    config = Qwen2Config(
        vocab_size=len(fast),
        hidden_size=128,
        intermediate_size=256,
        num_hidden_layers=4,
        num_attention_heads=4,
        num_key_value_heads=4,
        eos_token_id=fast.eos_token_id,
        pad_token_id=fast.pad_token_id,
        bos_token_id=None,
    )
    fast.save_pretrained(folder)
    Qwen2ForCausalLM(config).save_pretrained(folder)


def write_rows(path: Path, tokens: int, row_tokens: int) -> None:
    """Rows of about so many tokens in a parquet file, without holding them."""
    schema = pa.schema([("question", pa.large_string()), ("text", pa.large_string())])
    with pq.ParquetWriter(path, schema) as writer:
        pending: list[tuple[str, str]] = []
        for row in texts(max(1, tokens // row_tokens), int(row_tokens * 0.6)):
            pending.append(row)
            if len(pending) == 100:
                writer.write_table(pa.table(dict(zip(schema.names, zip(*pending, strict=True), strict=True)), schema))
                pending = []
        if pending:
            writer.write_table(pa.table(dict(zip(schema.names, zip(*pending, strict=True), strict=True)), schema))


def prepare_ours(model: str, rows: str, folder: str) -> dict[str, Any]:
    """Prepare rows as a student's training does; tokens, seconds and the most memory."""
    from openthoughts_dagster.generation.model import locate
    from openthoughts_dagster.recipe import Student
    from openthoughts_dagster.training.prepare import prepare_rows

    student = Student.model_validate({"name": "student", "model": model, "preset": "medium", "too_long": "truncate"})
    base = locate(student, Path())
    base.tokenizer()
    start, cpu = time.monotonic(), _cpu_seconds()
    prepared = prepare_rows(student, base, Path(rows), Path(folder) / "tokens", lambda _: None)
    measured = {"seconds": time.monotonic() - start, "cpu_seconds": _cpu_seconds() - cpu}
    return {"tokens": int(prepared.tokens.lengths.sum()), "max_rss_gb": _resident(), **measured}


def prepare_trl(model: str, rows: str, folder: str) -> dict[str, Any]:
    """Prepare rows as SFTTrainer does, in a process for each core."""
    trainer, seconds, cpu_seconds = _bare_trainer(model, rows, folder, dataset_num_proc=CORES)
    tokens = sum(len(ids) for ids in trainer.train_dataset["input_ids"])
    return {"tokens": tokens, "max_rss_gb": _resident(), "seconds": seconds, "cpu_seconds": cpu_seconds}


def train_ours(model: str, rows: str, folder: str) -> dict[str, Any]:
    """Train one epoch as a student's training does; tokens and seconds of training alone."""
    from openthoughts_dagster.generation.model import locate
    from openthoughts_dagster.recipe import Student
    from openthoughts_dagster.training.batches import split_batch
    from openthoughts_dagster.training.prepare import prepare_rows
    from openthoughts_dagster.training.trainer import build_trainer

    student = Student.model_validate({"name": "student", "model": model, "training": _training()})
    base = locate(student, Path())
    prepared = prepare_rows(student, base, Path(rows), Path(folder) / "tokens", lambda _: None)
    trainer = build_trainer(student, base, prepared, split_batch(student.settings(), 1), Path(folder), lambda _: None)
    return _timed(trainer, int(prepared.tokens.lengths.sum()))


def train_trl(model: str, rows: str, folder: str) -> dict[str, Any]:
    """Train one epoch with SFTTrainer and the same settings."""
    trainer, _, _ = _bare_trainer(model, rows, folder, report_to="none", save_strategy="no", logging_steps=5)
    return _timed(trainer, sum(len(ids) for ids in trainer.train_dataset["input_ids"]))


def _training() -> dict[str, Any]:
    return {
        "global_batch_size": 8,
        "per_device_batch_size": 4,
        "learning_rate": 1e-4,
        "epochs": 1,
        "bf16": False,
        "gradient_checkpointing": False,
    }


def _bare_trainer(model: str, rows: str, folder: str, **more: Any) -> tuple[Any, float, float]:
    from datasets import Dataset, disable_caching
    from trl import SFTConfig, SFTTrainer

    disable_caching()
    examples = [
        {"prompt": [{"role": "user", "content": question}], "completion": [{"role": "assistant", "content": text}]}
        for question, text in pl.read_parquet(rows).iter_rows()
    ]
    arguments = SFTConfig(
        output_dir=folder,
        per_device_train_batch_size=4,
        gradient_accumulation_steps=2,
        learning_rate=1e-4,
        num_train_epochs=1,
        lr_scheduler_type="cosine",
        warmup_steps=0.1,
        max_length=16384,
        bf16=False,
        gradient_checkpointing=False,
        disable_tqdm=True,
        seed=0,
        data_seed=0,
        **more,
    )
    dataset, start, cpu = Dataset.from_list(examples), time.monotonic(), _cpu_seconds()
    trainer = SFTTrainer(model, args=arguments, train_dataset=dataset)
    return trainer, time.monotonic() - start, _cpu_seconds() - cpu


def _timed(trainer: Any, tokens: int) -> dict[str, Any]:
    start, cpu = time.monotonic(), _cpu_seconds()
    trainer.train()
    measured = {"seconds": time.monotonic() - start, "cpu_seconds": _cpu_seconds() - cpu}
    return {"tokens": tokens, "max_rss_gb": _resident(), **measured}


def _cpu_seconds() -> float:
    """Seconds of processors that this process and its ended children have used."""
    used = [resource.getrusage(whose) for whose in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in used)


def _resident() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def measure(name: str, model: Path, rows: Path) -> dict[str, Any]:
    """Run one of the functions above in a process of its own."""
    with TemporaryDirectory() as folder:
        command = [sys.executable, __file__, "--measure", name, str(model), str(rows), folder]
        env = os.environ | {"RAYON_NUM_THREADS": str(CORES)}  # TRL's processes are not held by this variable
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=env)
    if done.returncode:
        raise RuntimeError(f"{name}: {done.stderr[-2000:]}")
    measured: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    print(
        f"{name}: {measured['tokens'] / measured['seconds']:,.0f} tokens/s, {measured['max_rss_gb']:.2f} GiB",
        flush=True,
    )
    return measured


def ratios(ours: str, theirs: str, model: Path, rows: Path) -> tuple[float, float]:
    """How many times as many tokens ours does in a second, and in a second of a processor: the best of some rounds."""
    units = ("seconds", "cpu_seconds")
    best = {(name, unit): 0.0 for name in (ours, theirs) for unit in units}
    for _ in range(ROUNDS):
        for name in (ours, theirs):
            measured = measure(name, model, rows)
            for unit in units:
                best[name, unit] = max(best[name, unit], measured["tokens"] / measured[unit])
    by_seconds, by_cpu = (best[ours, unit] / best[theirs, unit] for unit in units)
    return by_seconds, by_cpu


def main(millions: list[int]) -> None:
    """Measure all and print it as JSON."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        model, rows, short = folder / "model", folder / "rows.parquet", folder / "short.parquet"
        save_model(model)
        write_rows(rows, COMPARED_TOKENS, ROW_TOKENS)
        write_rows(short, TRAINED_ROWS * 256, 256)
        results: dict[str, Any] = {}
        for name, *compared in (
            ("prepare{}_over_trl", "prepare_ours", "prepare_trl", model, rows),
            ("tokens{}_over_bare_trl", "train_ours", "train_trl", model, short),
        ):
            by_seconds, by_cpu = ratios(*compared)
            results |= {name.format(""): by_seconds, name.format("_cpu"): by_cpu}
        for count in millions:
            write_rows(rows, count * 1_000_000, ROW_TOKENS)
            results[f"max_rss_gb_{count}m_tokens"] = measure("prepare_ours", model, rows)["max_rss_gb"]
        print(json.dumps({key: round(value, 3) for key, value in results.items()}))


if __name__ == "__main__":
    if sys.argv[1:2] == ["--measure"]:
        print(json.dumps(globals()[sys.argv[2]](*sys.argv[3:])))
    else:
        main([int(each) for each in sys.argv[1:]] or [10, 100])
