"""How an engine is run: vLLM's settings, and the patience with a server."""

from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import Field

from openthoughts_dagster.recipe.fields import Positive, Problem, RecipeModel


class VllmOptions(RecipeModel):
    """What vLLM is told beyond the model's own settings; hardware.count is its tensor parallel size."""

    quantization: str | None = Field(
        None, description="Weight quantization, e.g. fp8; absent: as the checkpoint says, or none."
    )
    kv_cache_dtype: str = Field("auto", description="Type of the KV cache, e.g. fp8: twice the room for requests.")
    gpu_memory_utilization: float = Field(
        0.9, gt=0, le=1, description="Part of each accelerator's memory that vLLM takes; not used on CPUs."
    )
    reasoning_parser: str | None = Field(
        None,
        description="vLLM's name for how the model marks its reasoning, e.g. qwen3 or deepseek_r1. With it a JSON "
        "schema binds the answer only, and the model thinks before it; without it the schema binds the first token.",
    )


class Retry(RecipeModel):
    """Patience with requests that fail: what is tried again, how long, and when it is given up."""

    attempts: Positive = Field(
        7, description="Tries of a request that times out, breaks off, or ends in a server's error (5xx)."
    )
    first_wait: float = Field(0.5, gt=0, description="Seconds up to which the first retry waits; doubled each time.")
    longest_wait: float = Field(30, gt=0, description="Seconds up to which any retry waits, unless Retry-After says.")
    patience: float = Field(
        45,
        gt=0,
        description="Seconds that a server may answer nobody, because it refuses connections or says 429 (too many "
        "requests), until its requests fail. While it answers others, a request waits on.",
    )
    request_seconds: float = Field(
        3600, gt=0, description="Longest time of one try: a server that hangs is left. Not used by transformers."
    )

    @classmethod
    def problems(cls, raw: Mapping[str, Any]) -> Iterator[Problem]:
        """A longest wait that is shorter than the first."""
        first, longest = raw.get("first_wait", 0.5), raw.get("longest_wait", 30)
        if isinstance(first, int | float) and isinstance(longest, int | float) and longest < first:
            yield ("longest_wait",), f"must be at least first_wait ({first:g}), got {longest:g}"
