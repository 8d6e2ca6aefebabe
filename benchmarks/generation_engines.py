"""Benchmarks of the engines with everything around them, beside the bare loop that a script would have.

Each measurement runs in a process of its own, so that its memory is its own.
"""

import asyncio
import json
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

from openthoughts_dagster.generation.generate import generate, plan
from openthoughts_dagster.generation.ledger_writer import Purpose
from openthoughts_dagster.generation.model import Model, locate
from openthoughts_dagster.generation.pool import EnginePool
from openthoughts_dagster.generation.requests import Prompt, Request
from openthoughts_dagster.lake import COMPLETIONS, Lake
from openthoughts_dagster.recipe import Hardware, ModelReference, Sampling

_IN_FLIGHT = 256


def build_model(folder: Path) -> None:
    """A Qwen3 of 21 million random parameters: large enough that a step is the engine's work, not Python's."""
    import torch
    from transformers import Qwen3Config, Qwen3ForCausalLM

    from openthoughts_dagster.quickstart.problems import FAMILIES, problems_of
    from openthoughts_dagster.quickstart.tokenizer import save_tokenizer, train_tokenizer

    tokenizer = train_tokenizer([p.question for family in FAMILIES for p in problems_of(family, 100, 1)])
    torch.manual_seed(0)
    config = Qwen3Config(
        vocab_size=len(tokenizer),
        hidden_size=512,
        intermediate_size=1536,
        num_hidden_layers=6,
        num_attention_heads=8,
        num_key_value_heads=4,
        head_dim=64,
        max_position_embeddings=1024,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    Qwen3ForCausalLM(config).save_pretrained(folder)
    save_tokenizer(tokenizer, folder)


def measure_vllm(
    folder: str, prompts: str, tokens: str = "96", dtype: str = "float32", accelerators: str = "0"
) -> dict[str, float]:
    """The same requests to one engine, by turns with the bare AsyncLLM loop and with ours: tokens per second."""
    sampling, count = Sampling(max_tokens=int(tokens)), int(accelerators)
    hardware = Hardware(accelerator="gpu", count=count) if count else Hardware()
    model = locate(ModelReference(name="m", model=folder, engine="vllm", dtype=dtype, hardware=hardware), Path())
    pool = EnginePool()
    with tempfile.TemporaryDirectory() as root:
        asked = [Prompt(f"Add {n} and {n * 31 % 997}, please", 4) for n in range(int(prompts))]
        requests = plan(Lake(f"{root}/none"), model, asked, sampling).missing
        pool.run(model, lambda engine: _bare_vllm(engine, requests[:64]), print)  # warm
        bare, ours = [], []
        for turn in range(4):
            bare.append(pool.run(model, lambda engine: _bare_vllm(engine, requests), print))
            lake, start = Lake(f"{root}/{turn}"), time.monotonic()
            spent = generate(lake, pool, model, iter([requests]), len(requests), Purpose(), lambda _: None)
            ours.append(spent.completion_tokens / (time.monotonic() - start))
            assert spent.generated == len(requests) == lake.scan(COMPLETIONS).collect().height
    pool.close()
    return {"bare": median(bare), "ours": median(ours), "ratio": median(o / b for o, b in zip(ours, bare, strict=True))}


async def _bare_vllm(engine: Any, requests: Sequence[Request]) -> float:
    """AsyncLLM and a semaphore, results kept in a list."""
    from vllm.sampling_params import RequestOutputKind, SamplingParams

    raw, room, tokens = engine._engine, asyncio.Semaphore(_IN_FLIGHT), []

    async def one(number: int, request: Request) -> None:
        s = request.sampling
        wanted = SamplingParams(
            temperature=s.temperature,
            max_tokens=s.max_tokens,
            seed=request.seed,
            output_kind=RequestOutputKind.FINAL_ONLY,
        )
        async with room:
            async for output in raw.generate(request.prompt, wanted, f"bare-{time.monotonic_ns()}-{number}"):
                tokens.append(len(output.outputs[0].token_ids))

    await raw.reset_prefix_cache()
    start = time.monotonic()
    await asyncio.gather(*(one(number, request) for number, request in enumerate(requests)))
    seconds = time.monotonic() - start
    await raw.reset_prefix_cache()
    return sum(tokens) / seconds


def _stub_model(address: str) -> Model:
    reference = ModelReference(
        name="m", model="stub", engine="openai", base_url=address, api_key_env="STUB_KEY", max_in_flight=_IN_FLIGHT
    )
    os.environ["STUB_KEY"] = "none"
    return locate(reference, Path())


def measure_openai(address: str, prompts: str) -> dict[str, float]:
    """Our openai engine with ledger and commits: completions per second, and this process's memory."""
    model, pool = _stub_model(address), EnginePool()
    with tempfile.TemporaryDirectory() as root:
        lake = Lake(root)
        planned = plan(lake, model, [Prompt(f"Question {n}?") for n in range(int(prompts))], Sampling())
        pool.run(model, _nothing, print)  # connect
        start = time.monotonic()
        spent = generate(lake, pool, model, iter([planned.missing]), len(planned.missing), Purpose(), lambda _: None)
        seconds = time.monotonic() - start
        assert lake.scan(COMPLETIONS).collect().height == spent.generated == int(prompts)
    pool.close()
    return {"rate": spent.generated / seconds, "gigabytes": _peak()}


async def _nothing(engine: Any) -> None:
    return None


def measure_bare_openai(address: str, prompts: str) -> dict[str, float]:
    """AsyncOpenAI and a semaphore, replies kept in a list: completions per second, and this process's memory."""
    from openai import AsyncOpenAI

    async def run() -> float:
        client, room, replies = AsyncOpenAI(base_url=address, api_key="none"), asyncio.Semaphore(_IN_FLIGHT), []

        async def one(number: int) -> None:
            async with room:
                reply = await client.chat.completions.create(
                    model="stub",
                    messages=[{"role": "user", "content": f"Question {number}?"}],
                    temperature=1.0,
                    max_tokens=16384,
                    seed=number,
                )
                replies.append(reply.choices[0].message.content)

        start = time.monotonic()
        await asyncio.gather(*(one(n) for n in range(int(prompts))))
        return len(replies) / (time.monotonic() - start)

    return {"rate": asyncio.run(run()), "gigabytes": _peak()}


def _peak() -> float:
    """Most memory of this process, in GB. (getrusage would count the process that started it as well.)"""
    [line] = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM")]
    return int(line.split()[1]) / 2**20


if __name__ == "__main__":
    print(json.dumps(globals()[f"measure_{sys.argv[1]}"](*sys.argv[2:])))
