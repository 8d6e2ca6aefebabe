"""The words of the OpenAI protocol: what is sent, and what a reply or its refusal means."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from openthoughts_dagster.generation.engines.retry_policy import Kind, RequestFailed, retry_after
from openthoughts_dagster.generation.reasoning import CLOSE, OPEN
from openthoughts_dagster.generation.requests import Request
from openthoughts_dagster.lake.unicode import replace_lone_surrogates

_SHOWN = 300  # characters of a reply in an error


class Unusable(Exception):
    """A server that will answer no request of this model: a wrong key, an unknown model, an empty account."""


@dataclass(frozen=True, slots=True)
class Reply:
    """What a server's model wrote; its tokens and its prompt's are there where vLLM was asked for them."""

    text: str
    reason: str
    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int
    token_ids: list[int]
    prompt_ids: list[int]


def request_body(request: Request, model: str, is_vllm: bool, tokens: list[int] | None, room: int) -> dict[str, Any]:
    """The body of a completion of `tokens`, or of a chat completion of the request's messages where they are None."""
    sampling = request.sampling
    body: dict[str, Any] = {
        "model": model,
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "max_tokens": room,
        "seed": request.seed,
    }
    if tokens is None:
        body["messages"] = list(request.messages)
    else:
        body["prompt"] = tokens
    if sampling.top_k:
        body["top_k"] = sampling.top_k
    if request.json_schema is not None:
        schema = {"name": "reply", "schema": request.json_schema, "strict": True}
        body["response_format"] = {"type": "json_schema", "json_schema": schema}
    if is_vllm:
        # what is left out would be taken from the checkpoint's generation_config.json: the recipe says all of it
        body |= {"top_k": sampling.top_k, "min_p": 0.0, "repetition_penalty": 1.0}
        if sampling.thinking_budget is not None:
            body |= {"thinking_token_budget": sampling.thinking_budget, "return_token_ids": True}
        if (guard := sampling.repetition) is not None:
            pattern = {"max_pattern_size": guard.longest, "min_pattern_size": guard.shortest, "min_count": guard.times}
            body["repetition_detection"] = pattern
    return body


def read_reply(payload: bytes, content_type: str) -> Reply:
    """The reply in a body of status 200. Raises RequestFailed when it is none."""
    try:
        body = json.loads(payload)
    except ValueError as error:  # cut off, or a proxy's HTML
        raise _broken(f"its body is not JSON ({content_type or 'no content type'})", payload) from error
    if isinstance(body, dict) and body.get("error"):  # some gateways answer 200 all the same
        raise _broken("its body is an error", payload)
    choices = body.get("choices") if isinstance(body, dict) else None
    if not isinstance(choices, list) or not choices or not isinstance(choices[0], dict):
        raise _broken("it has no choice", payload)
    choice, usage = choices[0], body.get("usage")
    usage = usage if isinstance(usage, dict) else {}
    message = choice.get("message")
    text = _chat_text(message) if isinstance(message, dict) else choice.get("text")
    if not isinstance(text, str):
        raise _broken("its choice has no text", payload)
    reason = choice.get("finish_reason") or "stop"
    if isinstance(message, dict) and isinstance(message.get("refusal"), str):
        text, reason = message["refusal"], "content_filter"
    if reason in ("abort", "error"):
        raise _broken(f"its finish reason is {reason!r}", payload)
    return Reply(
        replace_lone_surrogates(text),
        reason if reason in ("length", "repetition", "content_filter") else "stop",
        _count(usage.get("prompt_tokens")) or 0,
        _count(usage.get("completion_tokens")) or 0,
        _count(_part(usage, "prompt_tokens_details").get("cached_tokens")) or 0,
        choice.get("token_ids") or [],
        body.get("prompt_token_ids") or choice.get("prompt_token_ids") or [],
    )


def request_failure(
    status: int, headers: Mapping[str, str], payload: bytes, answers_others: bool
) -> RequestFailed | Unusable:
    """What a refusal means. `answers_others`: the server has answered requests that ask in the same way."""
    message, code = _error_of(payload)
    problem = f"HTTP {status}: {message}"
    if 300 <= status < 400:
        return Unusable(f"HTTP {status}: it redirects to {headers.get('location')}; correct base_url")
    if status in (401, 402, 403) or "insufficient_quota" in code:
        return Unusable(problem)
    if status == 429:
        return RequestFailed(problem, Kind.BUSY, retry_after(headers))
    if status in (408, 409, 425) or status >= 500:
        wait = retry_after(headers)
        return RequestFailed(problem, Kind.BROKEN if wait is None else Kind.BUSY, wait)
    if "content_filter" in code or "content_policy" in code:
        return RequestFailed(problem, Kind.REFUSED, reason="content_filter", permanent=True)
    # A request is at fault when the server answers others, or says so; else the recipe or the server may be, and
    # the request deserves another try when they are put right.
    too_long = "context_length" in code or "context length" in message
    return RequestFailed(problem, Kind.REFUSED, permanent=too_long or (answers_others and status in (400, 413, 422)))


def _chat_text(message: dict[str, Any]) -> Any:
    """The whole text of a message: vLLM calls the reasoning `reasoning`, older servers `reasoning_content`."""
    content = message.get("content")
    reasoning = message.get("reasoning") or message.get("reasoning_content")
    if not isinstance(reasoning, str):
        return "" if content is None else content
    return f"{OPEN}{reasoning}" if content is None else f"{OPEN}{reasoning}{CLOSE}{content}"


def _error_of(payload: bytes) -> tuple[str, str]:
    """Message and code of an error's body, whatever its shape."""
    try:
        body = json.loads(payload)
    except ValueError:
        return _shown(payload), ""
    error = body.get("error", body) if isinstance(body, dict) else body
    if not isinstance(error, dict):
        return _shown(payload), ""
    message = error.get("message") or error.get("detail") or _shown(payload)
    return str(message)[:_SHOWN], f"{error.get('code') or ''} {error.get('type') or ''}".strip()


def _broken(problem: str, payload: bytes) -> RequestFailed:
    return RequestFailed(f"the server's reply cannot be used: {problem}: {_shown(payload)}", Kind.BROKEN)


def _shown(payload: bytes) -> str:
    return payload[: 4 * _SHOWN].decode("utf-8", "replace")[:_SHOWN].strip() or "(empty)"


def _part(usage: dict[str, Any], name: str) -> dict[str, Any]:
    part = usage.get(name)
    return part if isinstance(part, dict) else {}


def _count(value: Any) -> int | None:
    return value if isinstance(value, int) else None
