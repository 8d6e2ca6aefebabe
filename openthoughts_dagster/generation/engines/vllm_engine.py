"""The engine that runs vLLM in this process: continuous batching and tensor parallelism."""

import asyncio
import gc
import multiprocessing
import os
import time
from collections.abc import AsyncIterable, AsyncIterator
from typing import Any
from uuid import uuid4

from openthoughts_dagster.generation.engine import EngineDied, EngineError
from openthoughts_dagster.generation.engines.fan_out import fan_out
from openthoughts_dagster.generation.engines.finishing import make_completion, make_failure
from openthoughts_dagster.generation.engines.orphans import end_with_this_process
from openthoughts_dagster.generation.engines.prompts import InvalidPrompt, Prompts, require_reasoning_tags
from openthoughts_dagster.generation.model import Model, load_tokenizer
from openthoughts_dagster.generation.reasoning import CLOSE, OPEN
from openthoughts_dagster.generation.requests import Completion, Request
from openthoughts_dagster.recipe import ModelReference


async def start_vllm(model: Model) -> "VllmEngine":
    """Load the model's weights. Raises EngineError with vLLM's reason if that fails."""
    os.environ.setdefault("VLLM_NO_USAGE_STATS", "1")
    os.environ.setdefault("VLLM_LOGGING_LEVEL", "ERROR")
    os.environ.setdefault("VLLM_CPU_KVCACHE_SPACE", "1")  # GiB, only read by the CPU build
    from vllm.engine.arg_utils import AsyncEngineArgs
    from vllm.v1.engine.async_llm import AsyncLLM

    reference = model.reference
    tokenizer = load_tokenizer(model.address, reference.revision, model.identity.revision)
    try:
        # do not keep it in a variable: vLLM's lazy imports keep this frame, and the engine would outlive its close
        return VllmEngine(AsyncLLM.from_engine_args(AsyncEngineArgs(**engine_arguments(model))), model, tokenizer)
    except Exception as error:
        raise EngineError(
            f"{reference.name}: vLLM could not start for {model.address}: {type(error).__name__}: {error}. "
            "vLLM's own log lines above this error say more."
        ) from error


def engine_arguments(model: Model) -> dict[str, Any]:
    """Return vLLM's engine arguments for a model of the recipe."""
    from vllm.config.reasoning import ReasoningConfig

    reference, options = model.reference, model.reference.vllm
    tokenizer = load_tokenizer(model.address, reference.revision, model.identity.revision)
    on_cpu = reference.hardware.count == 0
    arguments: dict[str, Any] = {
        "model": model.address,
        "revision": reference.revision,
        # the CPU build's bfloat16 kernels crash with an illegal instruction on CPUs without AMX or AVX512-BF16
        "dtype": "float32" if on_cpu and reference.dtype == "auto" else reference.dtype,
        "max_model_len": reference.max_model_len,
        "quantization": options.quantization,
        "kv_cache_dtype": options.kv_cache_dtype,
        "reasoning_parser": options.reasoning_parser or "",
        "tensor_parallel_size": max(1, reference.hardware.count),
        "max_num_seqs": min(reference.max_in_flight, 1024),
        "enforce_eager": on_cpu,  # compiling pays off on accelerators only
        "disable_log_stats": True,
        "use_tqdm_on_load": not on_cpu,  # what a CPU can serve is loaded at once
    }
    if Prompts(tokenizer, None).tags:  # a thinking budget closes the reasoning with these tags
        arguments["reasoning_config"] = ReasoningConfig(reasoning_start_str=OPEN, reasoning_end_str=CLOSE)
    return arguments | (_cpu_arguments(reference) if on_cpu else _gpu_arguments(reference))


def _gpu_arguments(reference: ModelReference) -> dict[str, Any]:
    return {"gpu_memory_utilization": reference.vllm.gpu_memory_utilization}


def _cpu_arguments(reference: ModelReference) -> dict[str, Any]:
    # A seeded request whose prompt is prefilled in chunks kills vLLM 0.30's CPU worker ("CPU Generator does not use
    # offset"). Without chunks a step has to hold the longest prompt.
    return {"enable_chunked_prefill": False, "max_num_batched_tokens": max(32768, reference.max_model_len or 0)}


class VllmEngine:
    """One AsyncLLM. Every sample is a request of its own, and prefix caching shares the prompt."""

    def __init__(self, engine: Any, model: Model, tokenizer: Any) -> None:
        from vllm.sampling_params import RequestOutputKind

        self._engine = engine
        children = {child.pid for child in multiprocessing.active_children() if child.pid is not None}
        self._guard = end_with_this_process(children)
        self._model = model
        self._prompts = Prompts(tokenizer, int(engine.model_config.max_model_len))
        self._only_at_the_end = RequestOutputKind.FINAL_ONLY

    def generate(self, requests: AsyncIterable[Request]) -> AsyncIterator[Completion]:
        """Yield the completions of `requests`, each as soon as it has ended."""
        return fan_out(requests, self._model.reference.max_in_flight, self._complete)

    def describe(self) -> dict[str, Any]:
        """Return engine name and version, dtypes, parallelism and the longest sequence."""
        import vllm

        config, options = self._engine.model_config, self._model.reference.vllm
        return {
            "name": "vllm",
            "version": vllm.__version__,
            "dtype": str(config.dtype).removeprefix("torch."),
            "quantization": config.quantization,
            "kv_cache_dtype": options.kv_cache_dtype,
            "tensor_parallel": max(1, self._model.reference.hardware.count),
            "max_model_len": self._prompts.longest,
        }

    async def close(self) -> None:
        """Stop the engine's processes."""
        if self._engine is not None:
            self._engine.shutdown()
            self._engine = None
            if self._guard is not None:
                self._guard.kill()
                self._guard.wait()
            await asyncio.sleep(0)  # let its canceled tasks end
            gc.collect()  # vLLM's own finalizer fails if it runs while the interpreter shuts down

    async def _complete(self, request: Request) -> Completion:
        from vllm.exceptions import VLLMClientError
        from vllm.v1.engine.exceptions import EngineDeadError

        start = time.monotonic()
        if request.sampling.thinking_budget is not None:
            require_reasoning_tags(self._model.reference.name, self._prompts.tags)
        try:
            beginning = self._prompts.beginning(request)
        except InvalidPrompt as error:
            return make_failure(request, str(error), permanent=True)
        final, limit = None, self._model.reference.retry.request_seconds
        prompt_tokens = len(beginning.tokens) - beginning.written_tokens
        try:
            sampling = self._sampling(request, beginning.room)
            # The prompt is given as tokens, so that vLLM needs no thread for it. The id is new, so that a request that
            # is retried after a failure does not collide with its first attempt.
            prompt = {"type": "token", "prompt_token_ids": beginning.tokens}
            async with asyncio.timeout(limit):
                async for output in self._engine.generate(prompt, sampling, uuid4().hex):
                    final = output
        except EngineDeadError as error:
            raise EngineDied(f"{self._model.reference.name}: the vLLM engine died: {error}") from error
        except TimeoutError:
            problem = f"vLLM gave no answer within {limit:g} s (retry.request_seconds)"
            return make_failure(request, problem, time.monotonic() - start, prompt_tokens=prompt_tokens)
        except (VLLMClientError, ValueError) as error:  # vLLM refuses this request every time
            problem = f"{type(error).__name__}: {error}"
            return make_failure(request, problem, time.monotonic() - start, prompt_tokens=prompt_tokens, permanent=True)
        except Exception as error:
            problem = f"{type(error).__name__}: {error.__cause__ or error}"
            return make_failure(request, problem, time.monotonic() - start, prompt_tokens=prompt_tokens)
        seconds = time.monotonic() - start
        sample = final.outputs[0] if final is not None and final.outputs else None
        if final is None or sample is None or sample.finish_reason not in ("stop", "length", "repetition"):
            problem = f"vLLM ended the request without an answer ({sample and sample.finish_reason})"
            return make_failure(request, problem, seconds, prompt_tokens=prompt_tokens)
        budget = request.sampling.thinking_budget
        return make_completion(
            request,
            sample.text,
            sample.finish_reason,
            prompt_tokens,
            len(sample.token_ids),
            seconds,
            thinking_tokens=0 if budget is None else self._prompts.thinking_tokens(request.prompt, sample.token_ids),
            written_tokens=beginning.written_tokens,
            cached_tokens=final.num_cached_tokens or 0,
        )

    def _sampling(self, request: Request, room: int) -> Any:
        from vllm.sampling_params import RepetitionDetectionParams, SamplingParams, StructuredOutputsParams

        sampling, guard = request.sampling, request.sampling.repetition
        optional: dict[str, Any] = {}
        if sampling.thinking_budget is not None:
            optional["thinking_token_budget"] = sampling.thinking_budget
        if guard is not None:
            optional["repetition_detection"] = RepetitionDetectionParams(
                max_pattern_size=guard.longest, min_pattern_size=guard.shortest, min_count=guard.times
            )
        if request.json_schema is not None:
            optional["structured_outputs"] = StructuredOutputsParams(json=request.json_schema)
        return SamplingParams(
            temperature=sampling.temperature,
            top_p=sampling.top_p,
            top_k=sampling.top_k,
            max_tokens=room,
            seed=request.seed,
            output_kind=self._only_at_the_end,
            skip_clone=True,  # made for this one request
            **optional,
        )
