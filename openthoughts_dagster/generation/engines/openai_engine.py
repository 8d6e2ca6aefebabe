"""The engine for OpenAI-compatible servers: a `vllm serve` fleet or a hosted API."""

import time
from collections.abc import AsyncIterable, AsyncIterator
from dataclasses import dataclass, replace
from typing import Any

from openthoughts_dagster.generation.engine import EngineDied, EngineError
from openthoughts_dagster.generation.engines.fan_out import fan_out
from openthoughts_dagster.generation.engines.finishing import make_completion, make_failure
from openthoughts_dagster.generation.engines.openai_replies import Reply, join_events, read_reply
from openthoughts_dagster.generation.engines.openai_requests import ServerParameters, request_body, room_in_refusal
from openthoughts_dagster.generation.engines.prompts import (
    InvalidPrompt,
    Prompts,
    Tags,
    estimated_tokens,
    require_reasoning_tags,
)
from openthoughts_dagster.generation.model import Model
from openthoughts_dagster.generation.reasoning import CLOSE, OPEN
from openthoughts_dagster.generation.requests import Completion, Request
from openthoughts_dagster.generation.servers.failures import failure_of
from openthoughts_dagster.generation.servers.http_client import HttpClient, HttpReply
from openthoughts_dagster.generation.servers.retry_policy import (
    FailureKind,
    FatalServerError,
    RequestFailed,
    RetryPolicy,
)
from openthoughts_dagster.lake.unicode import has_lone_surrogate
from openthoughts_dagster.recipe import Sampling

_MOST_LEARNED = 6  # a request learns the parameters of its server from at most this many refusals in a row
_STREAMED_TOKENS = 8192  # max_tokens from which an answer may take longer than gateways wait


@dataclass(frozen=True)
class Served:
    """What a server says about itself. Only a vLLM server says it reliably."""

    is_vllm: bool = False
    version: str | None = None
    longest: int | None = None


def describe_refusal(model: Model, client: HttpClient, problem: str) -> str:
    name = model.reference.api_key_env
    hint = f"look at the key in {name} and its account" if name else "it may want a key: set api_key_env"
    return f"{model.reference.name}: {client.address} refuses us: {problem}; {hint}"


class OpenaiEngine:
    """One model of one server. It asks /completions if the tokenizer is known, and /chat/completions otherwise."""

    def __init__(self, client: HttpClient, model: Model, served: Served, retry_policy: RetryPolicy) -> None:
        self._client = client
        self._model = model
        self._served = served
        self._retry_policy = retry_policy
        self._parameters = ServerParameters(model.reference.parameters)
        self._timed_out = False
        # ways of asking that the server has answered; a later refusal is then the fault of that request
        self._answered: set[tuple[Sampling, bool]] = set()
        self._tags: Tags | None = None
        tokenizer = model.tokenizer()
        longest = served.longest or model.reference.max_model_len
        self._prompts = None if tokenizer is None else Prompts(tokenizer, longest)
        self._path = "/chat/completions" if tokenizer is None else "/completions"

    def generate(self, requests: AsyncIterable[Request]) -> AsyncIterator[Completion]:
        """Yield the completions of `requests`, each as soon as it has ended."""
        return fan_out(requests, self._model.reference.max_in_flight, self._complete)

    def describe(self) -> dict[str, Any]:
        """Return engine name, server and version, and the recipe's dtype and parallelism, which servers do not tell."""
        reference = self._model.reference
        return {
            "name": "openai",
            "version": self._served.version,
            "dtype": None if reference.dtype == "auto" else reference.dtype,
            "tensor_parallel": reference.hardware.count or None,
            "max_model_len": self._served.longest or reference.max_model_len,
            "server": self._client.address,
            "chat_template": "server" if self._prompts is None else "ours",
        }

    async def close(self) -> None:
        """Close the connections."""
        await self._client.close()

    async def _complete(self, request: Request) -> Completion:
        start = time.monotonic()
        self._check_guards(request)
        try:
            body = self._body(request)
        except InvalidPrompt as error:
            return make_failure(request, str(error), permanent=True)
        try:
            reply, retries = await self._retry_policy.ask(lambda: self._attempt(request, body))
        except FatalServerError as error:
            raise EngineError(describe_refusal(self._model, self._client, str(error))) from None
        except RequestFailed as error:
            problem, seconds = str(error), time.monotonic() - start
            if error.kind is FailureKind.UNREACHABLE:
                name, address = self._model.reference.name, self._client.address
                raise EngineDied(f"{name}: the server at {address} is gone: {problem}") from None
            return make_failure(
                request, problem, seconds, permanent=error.permanent, retries=error.retries, reason=error.reason
            )
        return self._completion_of(request, body, reply, time.monotonic() - start, retries)

    def _completion_of(
        self, request: Request, body: dict[str, Any], reply: Reply, seconds: float, retries: int = 0
    ) -> Completion:
        """Return the completion in a server's reply."""
        prompt_tokens, completion_tokens, served = self._counted(request, body, reply)
        completion = make_completion(
            request,
            reply.text,
            reply.reason,
            prompt_tokens,
            completion_tokens,
            seconds,
            thinking_tokens=self._thinking_tokens(request, reply),
            written_tokens=0 if self._prompts is None else self._prompts.beginning(request).written_tokens,
            cached_tokens=reply.cached_tokens,
            retries=retries,
            served=served,
        )
        sent = len(body.get("prompt") or ())
        if prompt_tokens + reply.cached_tokens >= sent:
            return completion
        problem = (
            f"the server read only {prompt_tokens:,} of the {sent:,} tokens of the prompt: it cuts long prompts "
            "silently; raise its context length, or set max_model_len to it"
        )
        return replace(completion, text="", finish_reason="error", error=problem, permanent=True)

    def _counted(self, request: Request, body: dict[str, Any], reply: Reply) -> tuple[int, int, dict[str, str]]:
        """Return the tokens of prompt and completion, counted here if the reply has none, and the ledger's remarks."""
        prompt, completion, served = reply.prompt_tokens, reply.completion_tokens, dict(reply.served)
        if completion == 0 and reply.text:
            completion = None
        if prompt is not None and completion is not None:
            return prompt, completion, served
        served["token_counts"] = "tokenizer" if self._prompts is not None else "estimated"
        if prompt is None:
            prompt = len(body["prompt"]) if "prompt" in body else estimated_tokens(request.prompt)
        if completion is None:
            counted = None if self._prompts is None else self._prompts.count(reply.text)
            completion = estimated_tokens(reply.text) if counted is None else counted
        return prompt, completion, served

    def _body(self, request: Request) -> dict[str, Any]:
        """Return the body of the request. Raises InvalidPrompt."""
        tokens, room = None, request.sampling.max_tokens
        if self._prompts is not None:
            beginning = self._prompts.beginning(request)
            tokens, room = beginning.tokens, beginning.room
        elif any(has_lone_surrogate(message["content"]) for message in request.messages):
            raise InvalidPrompt("the prompt is not Unicode: it has half a surrogate pair")
        return request_body(request, self._model.reference.model, self._served.is_vllm, tokens, room)

    async def _attempt(self, request: Request, body: dict[str, Any]) -> Reply:
        await self._learn_tags(request)
        reply = await self._post(request, body)
        for _ in range(_MOST_LEARNED):
            shorter = reply.status == 400 and "context length" in reply.text and await self._shortened(body, reply.text)
            if not shorter and not self._parameters.learn(reply, request.sampling):
                break
            reply = await self._post(request, body)
        way = (request.sampling, request.json_schema is not None)
        try:
            if reply.status != 200:
                raise failure_of(reply, way in self._answered)
            answer = read_reply(reply, way in self._answered)
        except RequestFailed as failure:
            self._timed_out |= failure.kind is FailureKind.TIMED_OUT  # the next attempt streams
            raise
        self._answered.add(way)
        return answer

    async def _post(self, request: Request, body: dict[str, Any]) -> HttpReply:
        asked = self._parameters.apply(body)
        if not self._streams(request.sampling):
            return await self._client.post(self._path, asked)
        streamed = self._parameters.apply(body | {"stream_options": {"include_usage": True}}) | {"stream": True}
        reply, events = await self._client.post_streamed(self._path, streamed)
        return reply if events is None else join_events(reply, events)

    def _streams(self, sampling: Sampling) -> bool:
        """Return whether to stream: gateways close a connection on which nothing arrives for a minute or two."""
        wanted = self._model.reference.stream
        if wanted != "auto":
            return wanted == "always"
        return self._timed_out or (not self._served.is_vllm and sampling.max_tokens >= _STREAMED_TOKENS)

    async def _shortened(self, body: dict[str, Any], refusal: str) -> bool:
        """Lower max_tokens to what the prompt leaves; return whether it was lowered. vLLM counts tokens of chats."""
        room, longest = room_in_refusal(refusal), self._served.longest
        if longest and "messages" in body and (prompt := await self._tokens_of({"messages": body["messages"]})):
            room = longest - len(prompt)
        if room is None or not 0 < room < body["max_tokens"]:
            return False
        body["max_tokens"] = room
        return True

    def _check_guards(self, request: Request) -> None:
        """Refuse a guard that the server would silently ignore."""
        sampling = request.sampling
        guards = {"thinking_budget": sampling.thinking_budget, "repetition": sampling.repetition}
        if not self._served.is_vllm and (used := [name for name, guard in guards.items() if guard is not None]):
            raise EngineError(
                f"{self._model.reference.name}: the server at {self._client.address} is no vLLM, and only vLLM has "
                f"sampling.{' and sampling.'.join(used)}: remove it, or serve the model with vLLM"
            )

    def _thinking_tokens(self, request: Request, reply: Reply) -> int:
        if request.sampling.thinking_budget is None or self._tags is None:
            return 0
        # templates end with the tag, or with the tag and a newline
        return self._tags.thinking_tokens(reply.token_ids, self._tags.opening in reply.prompt_ids[-2:])

    async def _learn_tags(self, request: Request) -> None:
        """Find, once, the tokens that close the reasoning, by our tokenizer or by the server's."""
        if request.sampling.thinking_budget is None or self._tags is not None:
            return
        if self._prompts is not None:
            tags = self._prompts.tags
        else:
            opening = await self._tokens_of({"prompt": OPEN, "add_special_tokens": False})
            closing = await self._tokens_of({"prompt": CLOSE, "add_special_tokens": False})
            tags = Tags(opening[0], closing[0]) if len(opening) == len(closing) == 1 else None
        self._tags = require_reasoning_tags(self._model.reference.name, tags)

    async def _tokens_of(self, prompt: dict[str, Any]) -> list[int]:
        """Return the tokens of a prompt or of messages from vLLM's /tokenize; an empty list if it has no such path."""
        body = {"model": self._model.reference.model} | prompt
        reply = await self._client.post("/tokenize", body, below_v1=False)
        return list(reply.object().get("tokens") or []) if reply.status == 200 else []
