"""transformers' own generate: any machine, no extra install, batch by batch."""

import asyncio
import time
from collections.abc import AsyncIterable, AsyncIterator, Sequence
from itertools import groupby
from typing import Any

from openthoughts_dagster.generation.engine import EngineError
from openthoughts_dagster.generation.engines.seeded_sampling import sampling_processors
from openthoughts_dagster.generation.model import Model, load_tokenizer
from openthoughts_dagster.generation.requests import Completion, Request
from openthoughts_dagster.recipe import Sampling

_BATCH = 64


async def start_transformers(model: Model) -> "TransformersEngine":
    """Load the model's weights. Raises EngineError when they cannot be loaded."""
    return await asyncio.to_thread(TransformersEngine, model)


class TransformersEngine:
    """One AutoModelForCausalLM, on the accelerator when there is one."""

    def __init__(self, model: Model) -> None:
        import torch
        from transformers import AutoModelForCausalLM
        from transformers.utils import logging

        logging.disable_progress_bar()
        reference = model.reference
        device = "cuda" if torch.cuda.is_available() else "cpu"
        try:
            weights = AutoModelForCausalLM.from_pretrained(
                model.address, revision=reference.revision, dtype=reference.dtype
            )
        except (OSError, ValueError) as error:
            raise EngineError(f"{reference.name}: {model.address} could not be loaded: {error}") from error
        self._model = model
        self._weights = weights.to(device).eval()
        self._tokenizer = load_tokenizer(model.address, reference.revision, model.identity.revision)
        self._longest = reference.max_model_len or int(self._weights.config.max_position_embeddings)

    async def generate(self, requests: AsyncIterable[Request]) -> AsyncIterator[Completion]:
        """Completions of `requests`, batch by batch: up to `max_in_flight` are taken and sorted by length."""
        async for taken in _chunks(requests, self._model.reference.max_in_flight):
            for batch in self._batches(taken):
                for completion in await asyncio.to_thread(self._complete, batch):
                    yield completion

    def describe(self) -> dict[str, Any]:
        """Engine name, version, dtype and device."""
        import transformers

        return {
            "name": "transformers",
            "version": transformers.__version__,
            "dtype": str(self._weights.dtype).removeprefix("torch."),
            "device": self._weights.device.type,
        }

    async def close(self) -> None:
        """Drop the weights and give the accelerator's memory back."""
        import torch

        self._weights = None
        if torch.cuda.is_available():
            torch.cuda.empty_cache()

    def _batches(self, requests: list[Request]) -> list[list[Request]]:
        """Requests of one sampling and of similar length together: padding is work for nothing."""

        def group(request: Request) -> str:
            return request.sampling.model_dump_json()

        ordered = sorted(requests, key=lambda request: (group(request), len(request.prompt)))
        groups = [list(members) for _, members in groupby(ordered, key=group)]
        return [members[i : i + _BATCH] for members in groups for i in range(0, len(members), _BATCH)]

    def _complete(self, requests: Sequence[Request]) -> list[Completion]:
        prompts = [self._tokenizer.encode(request.prompt, add_special_tokens=False) for request in requests]
        fitting = [i for i, prompt in enumerate(prompts) if 0 < len(prompt) < self._longest]
        completions = [
            Completion(
                request,
                "",
                "error",
                len(prompts[i]),
                0,
                0.0,
                error=f"the prompt has {len(prompts[i]):,} tokens, the model takes {self._longest:,} with its answer",
            )
            for i, request in enumerate(requests)
            if i not in set(fitting)
        ]
        if not fitting:
            return completions
        asked, start = [requests[i] for i in fitting], time.monotonic()
        try:
            outputs = self._sample(asked, [prompts[i] for i in fitting], asked[0].sampling)
        except (RuntimeError, ValueError, IndexError) as error:  # out of memory, a broken checkpoint, ...
            problem, seconds = f"{type(error).__name__}: {error}", time.monotonic() - start
            return completions + [Completion(r, "", "error", 0, 0, seconds, error=problem) for r in asked]
        seconds = time.monotonic() - start
        ends = self._ends()
        for i, request, tokens in zip(fitting, asked, outputs, strict=True):
            end = next((n for n, token in enumerate(tokens) if token in ends), None)
            text = self._tokenizer.decode(tokens[:end], skip_special_tokens=True)
            count, reason = (len(tokens), "length") if end is None else (end + 1, "stop")
            completions.append(Completion(request, text, reason, len(prompts[i]), count, seconds))
        return completions

    def _ends(self) -> set[int]:
        ends = self._weights.generation_config.eos_token_id or self._tokenizer.eos_token_id
        return set(ends) if isinstance(ends, list) else {ends}

    def _sample(self, requests: Sequence[Request], prompts: list[list[int]], sampling: Sampling) -> list[list[int]]:
        import torch
        from transformers import GenerationConfig

        pad = self._tokenizer.pad_token_id
        pad = self._tokenizer.eos_token_id if pad is None else pad
        width = max(map(len, prompts))
        tokens = torch.tensor([[pad] * (width - len(prompt)) + prompt for prompt in prompts])
        mask = torch.tensor([[0] * (width - len(prompt)) + [1] * len(prompt) for prompt in prompts])
        device = self._weights.device
        with torch.inference_mode():
            outputs = self._weights.generate(
                tokens.to(device),
                attention_mask=mask.to(device),
                # not the checkpoint's own settings, such as a repetition penalty: the recipe says all of them
                generation_config=GenerationConfig(
                    max_new_tokens=min(sampling.max_tokens, self._longest - width),
                    do_sample=False,  # the processors sample, with a seed for each row
                    pad_token_id=pad,
                    eos_token_id=sorted(self._ends()),
                ),
                logits_processor=sampling_processors(sampling, [request.seed for request in requests]),
            )
        return [row[width:].tolist() for row in outputs]


async def _chunks(requests: AsyncIterable[Request], size: int) -> AsyncIterator[list[Request]]:
    taken: list[Request] = []
    async for request in requests:
        taken.append(request)
        if len(taken) == size:
            yield taken
            taken = []
    if taken:
        yield taken
