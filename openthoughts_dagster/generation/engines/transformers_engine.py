"""The engine that uses the `generate` of transformers; it runs on any machine, batch by batch."""

import asyncio
import json
import time
from collections.abc import AsyncIterable, AsyncIterator, Callable, Sequence
from itertools import groupby
from typing import Any

from openthoughts_dagster.generation.engine import EngineError
from openthoughts_dagster.generation.engines.finishing import make_completion, make_failure
from openthoughts_dagster.generation.engines.logit_rules import Endings, binding_processor, grammar_maker
from openthoughts_dagster.generation.engines.prompts import Beginning, InvalidPrompt, Prompts, require_reasoning_tags
from openthoughts_dagster.generation.engines.seeded_sampling import sampling_processors
from openthoughts_dagster.generation.model import Model, load_tokenizer
from openthoughts_dagster.generation.requests import Completion, Request

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
        longest = reference.max_model_len or int(self._weights.config.max_position_embeddings)
        self._prompts = Prompts(self._tokenizer, longest)
        self._grammar: Callable[[str], Any] | None = None

    async def generate(self, requests: AsyncIterable[Request]) -> AsyncIterator[Completion]:
        """Yield completions batch by batch: up to `max_in_flight` requests are taken at once and sorted by length."""
        async for taken in _chunks(requests, self._model.reference.max_in_flight):
            for batch in self._batches(taken):
                for completion in await self._complete(batch):
                    yield completion

    def describe(self) -> dict[str, Any]:
        """Return engine name and version, dtype, parallelism, device and the longest sequence."""
        import transformers

        return {
            "name": "transformers",
            "version": transformers.__version__,
            "dtype": str(self._weights.dtype).removeprefix("torch."),
            "tensor_parallel": 1,
            "device": self._weights.device.type,
            "max_model_len": self._prompts.longest,
        }

    async def close(self) -> None:
        """Drop the weights and release the accelerator's memory."""
        import torch

        self._weights = None
        if torch.cuda.is_available():
            torch.cuda.empty_cache()

    def _batches(self, requests: list[Request]) -> list[list[Request]]:
        """Batch requests of the same sampling and of similar length, because padding wastes work."""

        def group(request: Request) -> str:
            return request.sampling.model_dump_json()

        ordered = sorted(requests, key=lambda request: (group(request), len(request.prompt)))
        groups = [list(members) for _, members in groupby(ordered, key=group)]
        return [members[i : i + _BATCH] for members in groups for i in range(0, len(members), _BATCH)]

    async def _complete(self, requests: Sequence[Request]) -> list[Completion]:
        completions, asked, beginnings = [], [], []
        for request in requests:
            try:
                beginnings.append(self._prompts.beginning(request))
                asked.append(request)
            except InvalidPrompt as error:
                completions.append(make_failure(request, str(error), permanent=True))
        if asked:
            completions += await self._sampled(asked, beginnings)
        return completions

    async def _sampled(self, requests: list[Request], beginnings: list[Beginning]) -> list[Completion]:
        if requests[0].sampling.thinking_budget is not None:
            require_reasoning_tags(self._model.reference.name, self._prompts.tags)
        prompts = [beginning.tokens for beginning in beginnings]
        width, start = max(map(len, prompts)), time.monotonic()
        endings = Endings(requests, width, [beginning.room for beginning in beginnings], self._ends())
        work = asyncio.ensure_future(asyncio.to_thread(self._sample, requests, prompts, width, endings))
        try:
            rows = await asyncio.shield(work)
        except asyncio.CancelledError:
            endings.canceled = True  # a thread cannot be canceled; it ends after its next token
            await asyncio.wait([work])
            raise
        except (RuntimeError, ValueError, IndexError) as error:  # out of memory, a broken checkpoint, ...
            problem = f"{type(error).__name__}: {error}"
            return [make_failure(request, problem, time.monotonic() - start) for request in requests]
        seconds, ends = time.monotonic() - start, self._ends()
        completions = []
        for row, (request, beginning) in enumerate(zip(requests, beginnings, strict=True)):
            count, reason = endings.ended[row]
            tokens, written = rows[row][:count], beginning.written_tokens
            text = self._decode(beginning.tokens, written, tokens[:-1] if tokens[-1] in ends else tokens)
            thought = self._prompts.thinking_tokens(request.prompt, tokens)
            length = len(beginning.tokens) - written
            completions.append(
                make_completion(
                    request, text, reason, length, count, seconds, thinking_tokens=thought, written_tokens=written
                )
            )
        return completions

    def _decode(self, beginning: list[int], written: int, tokens: list[int]) -> str:
        """Return the text of tokens. That of a continuation depends on what is before it: some tokenizers drop blanks
        at the start of a text.
        """
        before = beginning[len(beginning) - written :]
        whole = str(self._tokenizer.decode([*before, *tokens], skip_special_tokens=True))
        if not before:
            return whole
        return whole[len(str(self._tokenizer.decode(before, skip_special_tokens=True))) :]

    def _ends(self) -> set[int]:
        ends = self._weights.generation_config.eos_token_id or self._tokenizer.eos_token_id
        return set(ends) if isinstance(ends, list) else {ends}

    def _sample(
        self, requests: Sequence[Request], prompts: list[list[int]], width: int, endings: Endings
    ) -> list[list[int]]:
        import torch
        from transformers import GenerationConfig, LogitsProcessorList, StoppingCriteriaList

        pad = self._tokenizer.pad_token_id
        pad = self._tokenizer.eos_token_id if pad is None else pad
        tokens = torch.tensor([[pad] * (width - len(prompt)) + prompt for prompt in prompts])
        mask = torch.tensor([[0] * (width - len(prompt)) + [1] * len(prompt) for prompt in prompts])
        device, sampling = self._weights.device, requests[0].sampling
        processors = sampling_processors(sampling, [request.seed for request in requests])
        if sampling.thinking_budget is not None or any(request.json_schema is not None for request in requests):
            processors = LogitsProcessorList([self._binding(requests, width), *processors])
        with torch.inference_mode():
            outputs = self._weights.generate(
                tokens.to(device),
                attention_mask=mask.to(device),
                # the recipe has all settings; ignore the checkpoint's own, such as a repetition penalty
                generation_config=GenerationConfig(
                    max_new_tokens=endings.longest,
                    do_sample=False,  # the processors do the sampling, with a seed for each row
                    pad_token_id=pad,
                    eos_token_id=sorted(self._ends()),
                ),
                logits_processor=processors,
                stopping_criteria=StoppingCriteriaList([endings]),
            )
        return [row[width:].tolist() for row in outputs]

    def _binding(self, requests: Sequence[Request], width: int) -> Any:
        if self._grammar is None:
            self._grammar = grammar_maker(self._tokenizer, len(self._tokenizer), self._ends())
        schemas = [None if r.json_schema is None else json.dumps(r.json_schema) for r in requests]
        matchers = [None if schema is None else self._grammar(schema) for schema in schemas]
        return binding_processor(requests, width, matchers, self._prompts.tags)


async def _chunks(requests: AsyncIterable[Request], size: int) -> AsyncIterator[list[Request]]:
    taken: list[Request] = []
    async for request in requests:
        taken.append(request)
        if len(taken) == size:
            yield taken
            taken = []
    if taken:
        yield taken
