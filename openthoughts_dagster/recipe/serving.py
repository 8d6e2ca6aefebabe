"""Settings of engines: vLLM's options, the parameters of requests to a server, and retries."""

from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

from pydantic import Field

from openthoughts_dagster.recipe.fields import Positive, Problem, RecipeModel


class VllmOptions(RecipeModel):
    """vLLM's options beyond the model's own settings; hardware.count is its tensor parallel size."""

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


class RequestParameters(RecipeModel):
    """How the parameters that a server takes differ from those of OpenAI's chat completions."""

    rename: dict[str, str] = Field(
        default={}, description="Names of the server's own, e.g. {max_tokens: max_completion_tokens}."
    )
    omit: list[str] = Field(
        default=[], description="Parameters that are not sent, e.g. [seed, temperature]; the server then chooses."
    )
    extra: dict[str, Any] = Field(
        default={},
        description="Parameters that are sent beside ours, e.g. {reasoning_effort: high}. They are part of a "
        "completion's key: changing one asks the model anew.",
    )

    def overridden(self) -> dict[str, str]:
        """Return the entries of `extra` that take the place of a setting of `sampling`, with the setting's name."""
        names = _OF_SAMPLING | {new: _OF_SAMPLING[old] for old, new in self.rename.items() if old in _OF_SAMPLING}
        return {name: names[name] for name in self.extra if name in names}

    def __hash__(self) -> int:
        """Hash the JSON, because models are keys of caches and mappings have no hash."""
        return hash(self.model_dump_json())

    @classmethod
    def problems(cls, raw: Mapping[str, Any]) -> Iterator[Problem]:
        """Find parameters that the platform itself decides."""
        for setting in ("rename", "omit", "extra"):
            values = raw.get(setting)
            names = list(values) if isinstance(values, dict | list | tuple) else []
            for name in names:
                if name in _OURS:
                    yield (setting,), f"must leave {name!r} alone: the platform decides it"


class PublishedAnswers(RecipeModel):
    """Where a data set has its questions and answers, for engine published.

    Columns of other names need not be named if they have one of the usual ones: a chat in `conversations` or
    `messages`, or `instruction_seed`, `question`, `problem` with `answer`, `response`, `solution`,
    `deepseek_solution`, and reasoning in `reasoning` or `deepseek_reasoning`.
    """

    files: str = Field("**/*", description="Pattern of the Parquet and JSON Lines files that are read, below `model`.")
    question: str | None = Field(None, description="Column of the question.")
    answer: str | None = Field(None, description="Column of the answer.")
    reasoning: str | None = Field(None, description="Column of the reasoning, where the answer does not contain it.")

    @classmethod
    def problems(cls, raw: Mapping[str, Any]) -> Iterator[Problem]:
        """Find a pattern that leads out of the data set."""
        files = raw.get("files")
        if isinstance(files, str) and (files.startswith("/") or ".." in files.split("/")):
            yield ("files",), f"must stay inside the data set, got {files!r}"


class BatchOptions(RecipeModel):
    """How requests are put into batches, for `mode: batch`."""

    price_factor: float = Field(
        0.5, ge=0, le=1, description="Price of a token in a batch, as a part of the price that `price` gives."
    )
    requests: int = Field(10_000, ge=1, le=50_000, description="Most requests of one batch.")
    megabytes: float = Field(100, gt=0, le=200, description="Largest file of one batch.")
    at_once: Positive = Field(10, description="Batches of one run that the server works on at once.")
    window: str = Field("24h", description="The time in which a batch is to be done, as the server names it.")
    poll_seconds: float = Field(60, gt=0, description="Seconds between two looks at a batch.")


_OF_SAMPLING = {
    **{name: name for name in ("temperature", "top_p", "top_k", "max_tokens", "seed")},
    "max_completion_tokens": "max_tokens",
    "thinking_token_budget": "thinking_budget",
    "repetition_detection": "repetition",
}
_OURS = ("model", "messages", "prompt", "stream", "n", "response_format")


def address_problem(url: str) -> str | None:
    """Say why `url` cannot be the base address of a server and what to write instead; None when it can."""
    try:
        parts = urlsplit(url)
        port_is_valid = parts.port is None or parts.port > 0
    except ValueError:
        return f"must be an address such as https://host:8000/v1 with a port up to 65535, got {url!r}"
    if "@" in parts.netloc:
        return "must hold no password and got one: name the variable of the key in api_key_env"
    if parts.scheme not in ("http", "https"):
        return f"must begin with http:// or https://, got {url!r}"
    if not parts.hostname or not port_is_valid or any(letter.isspace() for letter in url):
        return f"must name a host, as in https://host:8000/v1, got {url!r}"
    if parts.query or parts.fragment or "?" in url or "#" in url:
        return f"must end with its path, without ? or #: give parameters in parameters.extra; got {url!r}"
    return None


class Retry(RecipeModel):
    """How failed requests are retried, and when they are given up."""

    attempts: Positive = Field(
        7, description="Tries of a request that breaks off or ends in a server's error (5xx); of one that times out, 3."
    )
    first_wait: float = Field(0.5, gt=0, description="Seconds up to which the first retry waits; doubled each time.")
    longest_wait: float = Field(30, gt=0, description="Seconds up to which any retry waits, unless Retry-After says.")
    patience: float = Field(
        180,
        gt=0,
        description="Seconds that a server may be away (refused connections, 502, 503) or answer nobody (429, too many "
        "requests), also when a run begins, until its requests fail. While it says 429 to some and answers others, a "
        "request waits on.",
    )
    request_seconds: float = Field(
        3600, gt=0, description="Longest time of one try: a server that hangs is left. Not used by transformers."
    )

    @classmethod
    def problems(cls, raw: Mapping[str, Any]) -> Iterator[Problem]:
        """Find a longest wait that is shorter than the first one."""
        first, longest = raw.get("first_wait", 0.5), raw.get("longest_wait", 30)
        if isinstance(first, int | float) and isinstance(longest, int | float) and longest < first:
            yield ("longest_wait",), f"must be at least first_wait ({first:g}), got {longest:g}"
