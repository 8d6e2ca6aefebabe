"""What a machine with an accelerator does under each setting of training, and with vLLM: `make gpu-report`.

    python benchmarks/gpu_report.py [--tiny] [--model FOLDER] [--json] [--output FILE]

It trains a student of the architecture of Qwen2.5-0.5B on rows of 4,096 and of 16,384 tokens under each setting of
speed and memory, and with a bare TRL script; then it generates with vLLM through the ledger and with a bare loop.
Weights are random unless --model names a folder with others. A setting that the machine does not have, or for which
its memory is too small, is in the report with the reason. Each measurement runs in a process of its own.

With --tiny the model and the rows are so small that a CPU measures everything in minutes. Its numbers mean nothing.
"""

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from generation_engines import _peak
from training import save_model, write_rows

HERE = Path(__file__).parent
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
SETTINGS: dict[str, dict[str, Any]] = {
    "auto": {},
    "sdpa": {"attention": "sdpa"},
    "flash attention 2": {"attention": "flash_attention_2"},
    "flash attention 3": {"attention": "flash_attention_3"},
    "packing": {"packing": True},
    "liger": {"liger": True},
    "no gradient checkpointing": {"gradient_checkpointing": False},
    "activation offloading": {"activation_offloading": True},
    "bfloat16 weights": {"weights": "bfloat16"},
    "lora": {"lora": {"rank": 32}},
}
TOGETHER: dict[str, dict[str, Any]] = {
    "fsdp": {"sharding": "fsdp"},
    "context parallelism of 2": {"context_parallel": 2, "sharding": "fsdp"},
}
BATCH = 4  # rows of a step, in passes of one
FIRST = 2  # steps that are not counted: kernels are chosen and memory is allocated in them


@dataclass(frozen=True)
class Size:
    """How much is measured: lengths of rows in tokens, steps of a training, and prompts and tokens of generation."""

    lengths: tuple[int, ...]
    steps: int
    prompts: int
    answer_tokens: int


FULL, SMALL = Size((4096, 16_384), 12, 200, 512), Size((256,), 4, 4, 16)


@dataclass(frozen=True)
class Figure:
    """One measurement: what was done on rows of `length` tokens. `error` says why there is none."""

    name: str
    length: int
    tokens_per_second: float | None = None
    mfu: float | None = None
    gigabytes: float | None = None
    attention: str = ""
    error: str = ""


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
    if any(json.loads(settings).get(name) for name in ("liger", "activation_offloading")) and not _accelerated():
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
        use_cpu=not _accelerated(),
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
            if _accelerated():
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
        "gigabytes": torch.cuda.max_memory_allocated() / 1e9 if _accelerated() else _peak(),
    }


def accelerators() -> int:
    """Return the number of accelerators of this machine."""
    import torch

    return int(torch.cuda.device_count()) if _accelerated() else 0


def _accelerated() -> bool:
    import torch

    return bool(torch.cuda.is_available())


def measure(name: str, length: int, function: str, *arguments: Any) -> Figure:
    """Run a function of this file in a process of its own; an error of it is a figure as well."""
    with TemporaryDirectory() as folder:
        model, rows, *rest = map(str, arguments)
        command = [sys.executable, __file__, "--measure", function, model, rows, folder, str(length), *rest]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        figure = Figure(name, length, error=_reason(done))
    else:
        figure = Figure(name, length, **json.loads(done.stdout.strip().splitlines()[-1]))
    print(f"{name}, {length:,}: {_shown(figure)}", file=sys.stderr, flush=True)
    return figure


def _reason(done: "subprocess.CompletedProcess[str]") -> str:
    """Return the end of what a process that failed wrote: its error without the module of its class."""
    last = (done.stderr.strip().splitlines() or [f"it ended with {done.returncode}"])[-1]
    kind, _, says = last.partition(": ")
    return f"{kind.rpartition('.')[2]}: {says}"[:300] if says else last[:300]


def measure_trainings(model: Path, folder: Path, size: Size) -> list[Figure]:
    """Measure bare TRL and every setting on rows of every length."""
    figures = []
    for length in size.lengths:
        rows = folder / f"rows-{length}.parquet"
        write_rows(rows, BATCH * size.steps * int(length * 1.5), int(length * 1.5))  # all are truncated to `length`
        figures.append(measure("bare TRL", length, "train_trl", model, rows, size.steps, "{}"))
        figures += [
            measure(name, length, "train_ours", model, rows, size.steps, json.dumps(settings))
            for name, settings in SETTINGS.items()
        ]
        count = accelerators() or 2  # without accelerators, two processes of the CPU
        for each, settings in TOGETHER.items():
            name = f"{each} in {count} processes"
            if count > 1:
                told = json.dumps(settings)
                figures.append(measure(name, length, "train_together", model, rows, size.steps, count, told))
            else:
                figures.append(Figure(name, length, error="it needs two accelerators"))
    return figures


def measure_generation(model: Path, size: Size) -> list[Figure]:
    """Measure vLLM through the ledger and in a bare loop, by turns in one engine."""
    dtype, count = ("bfloat16", "1") if _accelerated() else ("float32", "0")
    sizes = [str(size.prompts), str(size.answer_tokens), dtype, count]
    command = [sys.executable, str(HERE / "generation_engines.py"), "vllm", str(model), *sizes]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        return [Figure("vLLM through the ledger", size.answer_tokens, error=_reason(done))]
    measured = json.loads(done.stdout.strip().splitlines()[-1])
    return [
        Figure("bare vLLM", size.answer_tokens, measured["bare"]),
        Figure("vLLM through the ledger", size.answer_tokens, measured["ours"]),
    ]


def ratios(figures: Sequence[Figure]) -> dict[str, float]:
    """Return how many times as many tokens a second ours does as the bare script, by length."""
    rates = {(figure.name, figure.length): figure.tokens_per_second for figure in figures}
    found = {}
    for ours, bare in (("auto", "bare TRL"), ("vLLM through the ledger", "bare vLLM")):
        for (name, length), rate in rates.items():
            if name == ours and rate and (other := rates.get((bare, length))):
                found[f"{ours} over {bare}, {length:,} tokens"] = round(rate / other, 3)
    return found


def machine() -> str:
    """Return the name of the accelerators, or that there is none."""
    import torch

    return f"{accelerators()} x {torch.cuda.get_device_name()}" if _accelerated() else "no accelerator"


def page(figures: Sequence[Figure], tiny: bool) -> str:
    """Return the report as markdown."""
    import torch
    import transformers
    import trl

    versions = f"torch {torch.__version__}, transformers {transformers.__version__}, TRL {trl.__version__}"
    lines = [f"# Report of {machine()}", "", f"{versions}; {time.strftime('%Y-%m-%d')}.", ""]
    if tiny:
        lines += ["**A tiny model on tiny rows: these numbers only show that the report is wired.**", ""]
    lines += ["| what | tokens in a row | tokens/s | MFU | memory | attention |", "|---|---|---|---|---|---|"]
    lines += [_row(figure) for figure in figures]
    return "\n".join([*lines, "", *(f"- {name}: {ratio:.3f}" for name, ratio in ratios(figures).items()), ""])


def _row(figure: Figure) -> str:
    if figure.error:
        return f"| {figure.name} | {figure.length:,} | not measured: {figure.error.replace('|', '/')} | | | |"
    mfu = "" if figure.mfu is None else f"{figure.mfu:.0%}"
    memory = "" if figure.gigabytes is None else f"{figure.gigabytes:.1f} GB"
    cells = [figure.name, f"{figure.length:,}", f"{figure.tokens_per_second:,.0f}", mfu, memory, figure.attention]
    return f"| {' | '.join(cells)} |"


def _shown(figure: Figure) -> str:
    return figure.error or f"{figure.tokens_per_second:,.0f} tokens/s"


def main() -> None:
    """Measure everything and write the report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tiny", action="store_true", help="a tiny model on tiny rows: shows that all of it runs")
    parser.add_argument("--model", type=Path, help="a folder with the weights of a chat model, instead of random ones")
    parser.add_argument("--json", action="store_true", help="print the figures as JSON instead of the page")
    parser.add_argument("--output", type=Path, help="also write the page to this file")
    options = parser.parse_args()
    size = SMALL if options.tiny else FULL
    with TemporaryDirectory() as name:
        model = options.model or Path(name) / "model"
        if options.model is None:
            build_model(model, options.tiny)
        figures = [*measure_trainings(model, Path(name), size), *measure_generation(model, size)]
    report = page(figures, options.tiny)
    if options.output:
        options.output.write_text(report)
    content = {"machine": machine(), "figures": [asdict(each) for each in figures], "ratios": ratios(figures)}
    print(json.dumps(content, indent=1) if options.json else report)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--measure"]:
        print(json.dumps(globals()[sys.argv[2]](*sys.argv[3:])))
    else:
        main()
