"""Any OpenAI-compatible server: a `vllm serve` fleet, or a hosted API."""

import os
import time
from collections.abc import AsyncIterable, AsyncIterator
from typing import Any

from openthoughts_dagster.generation.engine import EngineError
from openthoughts_dagster.generation.engines.fan_out import fan_out
from openthoughts_dagster.generation.model import Model
from openthoughts_dagster.generation.requests import Completion, Request

_ATTEMPTS = 6  # the client waits between them as the server's Retry-After says, or exponentially


async def start_openai(model: Model) -> "OpenaiEngine":
    """Connect to the server. Raises EngineError when its key is missing or it does not answer."""
    from openai import APIConnectionError, AsyncOpenAI

    reference = model.reference
    key = os.environ.get(reference.api_key_env) if reference.api_key_env else "none"
    if not key:
        raise EngineError(
            f"{reference.name}: the environment variable {reference.api_key_env} holds no API key; set it where "
            "the code location runs (on Kubernetes: as a secret)"
        )
    client = AsyncOpenAI(base_url=reference.base_url, api_key=key, max_retries=_ATTEMPTS - 1)
    try:
        await client.with_options(max_retries=0, timeout=10).models.list()
    except APIConnectionError as error:
        raise EngineError(
            f"{reference.name}: no server answers at {client.base_url}: start it, or correct `base_url`"
        ) from error
    except Exception as error:  # a server without a model list may answer all the same; a wrong key may not
        if getattr(error, "status_code", None) in (401, 403):
            raise EngineError(
                f"{reference.name}: {client.base_url} refuses the key in {reference.api_key_env or 'api_key_env'}"
            ) from None
    return OpenaiEngine(client, model)


class OpenaiEngine:
    """Chat completions of one server's model."""

    def __init__(self, client: Any, model: Model) -> None:
        self._client = client
        self._model = model

    def generate(self, requests: AsyncIterable[Request]) -> AsyncIterator[Completion]:
        """Completions of `requests`, each as soon as it ends."""
        return fan_out(requests, self._model.reference.max_in_flight, self._complete)

    def describe(self) -> dict[str, Any]:
        """Engine name, client version and the server's address."""
        import openai

        return {"name": "openai", "version": openai.__version__, "server": self._client.base_url.host}

    async def close(self) -> None:
        """Close the connections."""
        await self._client.close()

    async def _complete(self, request: Request) -> Completion:
        from openai import APIStatusError, OpenAIError

        sampling, start = request.sampling, time.monotonic()
        options: dict[str, Any] = {"extra_body": {"top_k": sampling.top_k}} if sampling.top_k else {}
        if request.json_schema:
            schema = {"name": "reply", "schema": request.json_schema, "strict": True}
            options["response_format"] = {"type": "json_schema", "json_schema": schema}
        try:
            reply = await self._client.chat.completions.create(
                model=self._model.reference.model,
                messages=list(request.messages),
                temperature=sampling.temperature,
                top_p=sampling.top_p,
                max_tokens=sampling.max_tokens,
                seed=request.seed,
                **options,
            )
        except APIStatusError as error:
            if error.status_code in (401, 403):
                raise EngineError(
                    f"{self._model.reference.name}: {self._client.base_url} refuses the key "
                    f"in {self._model.reference.api_key_env or 'api_key_env'} ({error.status_code})"
                ) from None
            return self._failed(request, f"HTTP {error.status_code}: {error.message}", start)
        except OpenAIError as error:
            return self._failed(request, f"{type(error).__name__}: {error}", start)
        if not reply.choices:
            return self._failed(request, "the server's reply has no choice", start)
        choice, usage = reply.choices[0], reply.usage
        # vLLM calls it reasoning, older servers reasoning_content
        reasoning = getattr(choice.message, "reasoning", None) or getattr(choice.message, "reasoning_content", None)
        text = choice.message.content or ""
        return Completion(
            request,
            f"<think>{reasoning}</think>{text}" if reasoning else text,
            "length" if choice.finish_reason == "length" else "stop",
            usage.prompt_tokens if usage else 0,
            usage.completion_tokens if usage else 0,
            time.monotonic() - start,
        )

    def _failed(self, request: Request, problem: str, start: float) -> Completion:
        return Completion(request, "", "error", 0, 0, time.monotonic() - start, error=problem)
