"""vLLM in process: continuous batching, tensor parallel over the accelerators that the model asks for."""

import asyncio
import gc
import os
import time
from collections.abc import AsyncIterable, AsyncIterator
from typing import Any
from uuid import uuid4

from openthoughts_dagster.generation.engine import EngineError
from openthoughts_dagster.generation.engines.fan_out import fan_out
from openthoughts_dagster.generation.model import Model, load_tokenizer
from openthoughts_dagster.generation.requests import Completion, Request


async def start_vllm(model: Model) -> "VllmEngine":
    """Load the model's weights. Raises EngineError with vLLM's reason when that fails."""
    os.environ.setdefault("VLLM_NO_USAGE_STATS", "1")
    os.environ.setdefault("VLLM_LOGGING_LEVEL", "ERROR")
    os.environ.setdefault("VLLM_CPU_KVCACHE_SPACE", "1")  # GiB, only read by the CPU build
    from vllm.engine.arg_utils import AsyncEngineArgs
    from vllm.v1.engine.async_llm import AsyncLLM

    reference = model.reference
    on_cpu = reference.hardware.count == 0
    # A seeded request whose prompt is prefilled in chunks kills vLLM 0.30's CPU worker ("CPU Generator does not use
    # offset"). Without chunks a step has to hold the longest prompt.
    step_tokens = max(32768, reference.max_model_len or 0)
    cpu_only: dict[str, Any] = (
        {"enable_chunked_prefill": False, "max_num_batched_tokens": step_tokens} if on_cpu else {}
    )
    arguments = AsyncEngineArgs(
        model=model.address,
        revision=reference.revision,
        # the CPU build's bfloat16 kernels end in an illegal instruction on CPUs without AMX or AVX512-BF16
        dtype="float32" if on_cpu and reference.dtype == "auto" else reference.dtype,
        max_model_len=reference.max_model_len,
        tensor_parallel_size=max(1, reference.hardware.count),
        max_num_seqs=min(reference.max_in_flight, 1024),
        enforce_eager=on_cpu,  # compiling pays off on accelerators only
        disable_log_stats=True,
        **cpu_only,
    )
    try:
        return VllmEngine(AsyncLLM.from_engine_args(arguments), model)
    except Exception as error:
        raise EngineError(
            f"{reference.name}: vLLM could not start for {model.address}: {type(error).__name__}: {error}. "
            "vLLM's own log lines above this error say more."
        ) from error


class VllmEngine:
    """One AsyncLLM. Every sample is a request of its own; prefix caching shares their prompt."""

    def __init__(self, engine: Any, model: Model) -> None:
        self._engine = engine
        self._model = model
        self._tokenizer = load_tokenizer(model.address, model.reference.revision, model.identity.revision)
        self._longest = int(engine.model_config.max_model_len)

    def generate(self, requests: AsyncIterable[Request]) -> AsyncIterator[Completion]:
        """Completions of `requests`, each as soon as it ends."""
        return fan_out(requests, self._model.reference.max_in_flight, self._complete)

    def describe(self) -> dict[str, Any]:
        """Engine name, version, dtype and tensor parallel size."""
        import vllm

        return {
            "name": "vllm",
            "version": vllm.__version__,
            "dtype": str(self._engine.model_config.dtype).removeprefix("torch."),
            "tensor_parallel": max(1, self._model.reference.hardware.count),
        }

    async def close(self) -> None:
        """Stop the engine's processes."""
        if self._engine is not None:
            self._engine.shutdown()
            self._engine = None
            await asyncio.sleep(0)  # lets its canceled tasks go
            gc.collect()  # vLLM's own finalizer fails when it first runs while the interpreter goes down

    async def _complete(self, request: Request) -> Completion:
        from vllm.sampling_params import RequestOutputKind, SamplingParams, StructuredOutputsParams
        from vllm.v1.engine.exceptions import EngineDeadError

        start = time.monotonic()
        tokens = self._tokenizer.encode(request.prompt, add_special_tokens=False)
        room = self._longest - len(tokens)
        if room < 1:
            problem = f"the prompt has {len(tokens):,} tokens, the model takes {self._longest:,} with its answer"
            return Completion(request, "", "error", len(tokens), 0, 0.0, error=problem)
        schema = StructuredOutputsParams(json=request.json_schema) if request.json_schema else None
        sampling = SamplingParams(
            temperature=request.sampling.temperature,
            top_p=request.sampling.top_p,
            top_k=request.sampling.top_k,
            max_tokens=min(request.sampling.max_tokens, room),
            seed=request.seed,
            structured_outputs=schema,
            output_kind=RequestOutputKind.FINAL_ONLY,
        )
        try:
            final = None
            # The id is fresh: a request that is asked again after a failure must not meet its own remains.
            async for output in self._engine.generate({"prompt_token_ids": tokens}, sampling, uuid4().hex):
                final = output
        except EngineDeadError as error:
            raise EngineError(f"{self._model.reference.name}: the vLLM engine died: {error}") from error
        except Exception as error:
            problem = f"{type(error).__name__}: {error}"
            return Completion(request, "", "error", len(tokens), 0, time.monotonic() - start, error=problem)
        if final is None or not final.outputs:
            problem = "vLLM ended the request without an output"
            return Completion(request, "", "error", len(tokens), 0, time.monotonic() - start, error=problem)
        sample = final.outputs[0]
        return Completion(
            request,
            sample.text,
            "length" if sample.finish_reason == "length" else "stop",
            len(tokens),
            len(sample.token_ids),
            time.monotonic() - start,
            cached_tokens=final.num_cached_tokens or 0,
        )
