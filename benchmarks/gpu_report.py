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

from gpu_trainings import BATCH, accelerators, build_model, is_accelerated
from training import write_rows

HERE = Path(__file__).parent
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


def measure(name: str, length: int, function: str, *arguments: Any) -> Figure:
    """Run a function of `gpu_trainings.py` in a process of its own; an error of it is a figure as well."""
    with TemporaryDirectory() as folder:
        model, rows, *rest = map(str, arguments)
        command = [sys.executable, str(HERE / "gpu_trainings.py"), function, model, rows, folder, str(length), *rest]
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
    dtype, count = ("bfloat16", "1") if is_accelerated() else ("float32", "0")
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

    return f"{accelerators()} x {torch.cuda.get_device_name()}" if is_accelerated() else "no accelerator"


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
    main()
