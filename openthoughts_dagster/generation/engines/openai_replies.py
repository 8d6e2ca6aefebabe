"""Reads the replies of servers, which differ in their words and fields."""

from dataclasses import dataclass, field
from typing import Any

from openthoughts_dagster.generation.reasoning import CLOSE, OPEN
from openthoughts_dagster.generation.servers.failures import failure_of, shorten_reply
from openthoughts_dagster.generation.servers.http_client import HttpReply
from openthoughts_dagster.generation.servers.retry_policy import FailureKind, RequestFailed
from openthoughts_dagster.lake.unicode import replace_lone_surrogates

_MOST_TOKENS = 2**31 - 1  # the largest value of a column of the ledger

# Servers' words for the end of an answer, in lower case. Any other word is kept as the server wrote it, and such an
# answer does not count as finished.
_REASONS = {
    "stop": "stop eos eos_token end_turn stop_sequence complete completed finish_reason_stop",
    "length": "length max_tokens max_output_tokens model_length max_length token_limit incomplete",
    "repetition": "repetition",
    "content_filter": "content_filter content_filtered safety recitation blocklist prohibited_content spii sensitive "
    "refusal guardrail_intervened error_toxic image_safety language",
    "error": "error abort aborted network_error insufficient_system_resource internal_error server_error timeout "
    "overloaded cancelled canceled",
}
_MEANING = {word: reason for reason, words in _REASONS.items() for word in words.split()}


@dataclass(frozen=True, slots=True)
class Reply:
    """A model's text from a server's reply. Token ids of text and prompt are present if vLLM was asked for them.

    The counts of tokens are None if the server gave none. `served` has the model's name on the server and the
    fingerprint of the system.
    """

    text: str
    reason: str
    prompt_tokens: int | None
    completion_tokens: int | None
    cached_tokens: int = 0
    token_ids: list[int] = field(default_factory=list)
    prompt_ids: list[int] = field(default_factory=list)
    served: dict[str, str] = field(default_factory=dict)


def read_reply(reply: HttpReply, answers_others: bool = True) -> Reply:
    """Return the answer in a reply of status 200. Raises RequestFailed or FatalServerError if it has none."""
    body = reply.body
    if body is None:  # the JSON is cut off, or a proxy sent HTML
        content_type = reply.headers.get("content-type", "") or "no content type"
        raise _unusable(f"its body is not JSON ({content_type})", reply)
    if isinstance(body, dict) and body.get("error"):  # some gateways send an error with status 200
        raise failure_of(reply, answers_others)
    choices = body.get("choices") if isinstance(body, dict) else None
    if not isinstance(choices, list) or not choices or not isinstance(choices[0], dict):
        raise _unusable("it has no choice", reply)
    choice = choices[0]
    if isinstance(choice.get("error"), dict):
        raise failure_of(HttpReply(200, reply.headers, reply.text, choice), answers_others)
    message = choice.get("message")
    text = _chat_text(message) if isinstance(message, dict) else _joined_parts(choice.get("text"))
    if text is None:
        raise _unusable("its choice has no text", reply)
    reason = finish_reason(choice.get("finish_reason"))
    if isinstance(message, dict) and isinstance(message.get("refusal"), str) and message["refusal"]:
        text, reason = message["refusal"], "content_filter"
    if reason == "error":
        raise _unusable(f"its finish reason is {choice.get('finish_reason')!r}", reply)
    if reason == "unknown" and not text.strip():  # routers send this where a provider gave nothing
        raise _unusable("it has neither a text nor a finish reason", reply)
    prompt_tokens, completion_tokens, cached = _usage(body.get("usage"))
    return Reply(
        replace_lone_surrogates(text),
        reason,
        prompt_tokens,
        completion_tokens,
        cached,
        choice.get("token_ids") or [],
        body.get("prompt_token_ids") or choice.get("prompt_token_ids") or [],
        {
            name: value[:200]
            for name, of in (("served_model", "model"), ("system_fingerprint", "system_fingerprint"))
            if isinstance(value := body.get(of), str) and value
        },
    )


def finish_reason(said: Any) -> str:
    """Return one of FINISH_REASONS, or the server's own word, or `unknown` if there is no word."""
    if not isinstance(said, str) or not said.strip():
        return "unknown"
    return _MEANING.get(said.strip().lower(), replace_lone_surrogates(said.strip()[:64]))


def join_events(reply: HttpReply, events: list[dict[str, Any]]) -> HttpReply:
    """Join the events of a streamed reply to the reply that the server would have sent without streaming.

    Raises:
        RequestFailed: The stream ended before the answer.
    """
    body: dict[str, Any] = {}
    message: dict[str, Any] = {}
    choice: dict[str, Any] = {}
    for event in events:
        if event.get("error"):
            return HttpReply(200, reply.headers, str(event)[:2000], event)
        body |= {name: event[name] for name in ("model", "system_fingerprint", "usage") if event.get(name)}
        if event.get("prompt_token_ids"):
            body["prompt_token_ids"] = event["prompt_token_ids"]
        choices = event.get("choices")
        for part in choices if isinstance(choices, list) else []:
            if not isinstance(part, dict) or part.get("index"):
                continue
            _append(choice, {name: part.get(name) for name in ("text", "token_ids", "prompt_token_ids")})
            if isinstance(delta := part.get("delta"), dict):
                _append(message, delta)
            if part.get("finish_reason"):
                choice["finish_reason"] = part["finish_reason"]
    if "finish_reason" not in choice and reply.text != "[DONE]":
        raise RequestFailed("the stream broke off before the answer ended", FailureKind.ATTEMPT_FAILED)
    if message or "text" not in choice:
        choice["message"] = {"content": None, **message}
    return HttpReply(200, reply.headers, "", body | {"choices": [choice]})


def _append(to: dict[str, Any], delta: dict[str, Any]) -> None:
    for name, value in delta.items():
        held = to.get(name) or ("" if isinstance(value, str) else [])
        if not isinstance(value, str | list) or name == "role":
            continue
        if type(held) is not type(value):  # Mistral sends the reasoning as parts, and then the answer as text
            held, value = ([each] if isinstance(each, str) else each for each in (held, value))
        to[name] = held + value


def _chat_text(message: dict[str, Any]) -> str | None:
    """Return the whole text of a message with its reasoning between tags, whichever field holds it."""
    content = _joined_parts(message.get("content"))
    reasoning = _reasoning_of(message)
    if message.get("content") is not None and content is None:
        return None
    if not reasoning:
        return content or ""
    if content is None:
        return f"{OPEN}{reasoning}"
    if content.lstrip().startswith(OPEN):  # the reasoning is in a field of its own and also before the answer
        _, closed, content = content.partition(CLOSE)
        if not closed:
            return f"{OPEN}{reasoning}"
    return f"{OPEN}{reasoning}{CLOSE}{content}"


def _reasoning_of(message: dict[str, Any]) -> str | None:
    """Return the reasoning; vLLM says `reasoning`, DeepSeek `reasoning_content`, Ollama `thinking`."""
    for name in ("reasoning", "reasoning_content", "thinking"):
        if isinstance(message.get(name), str) and message[name]:
            return str(message[name])
    if isinstance(details := message.get("reasoning_details"), list):  # OpenRouter has this for some providers
        texts = [part.get("text") or part.get("summary") for part in details if isinstance(part, dict)]
        if written := "".join(text for text in texts if isinstance(text, str)):
            return written
    if isinstance(parts := message.get("content"), list):  # Mistral sends it as a part of the content
        thoughts = [_joined_parts(p.get("thinking")) for p in parts if isinstance(p, dict) and "thinking" in p]
        return "".join(thought for thought in thoughts if thought) or None
    return None


def _joined_parts(content: Any) -> str | None:
    """Return a text, or the joined texts of a list of parts; None if `content` is neither."""
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        return None
    texts = [part if isinstance(part, str) else part.get("text") for part in content if isinstance(part, str | dict)]
    return "".join(text for text in texts if isinstance(text, str))


def _usage(usage: Any) -> tuple[int | None, int | None, int]:
    """Return the tokens of prompt, completion and cache; None for counts that the server does not give."""
    if not isinstance(usage, dict):
        return None, None, 0
    prompt, completion = _count(usage.get("prompt_tokens")), _count(usage.get("completion_tokens"))
    cached = _count(_part(usage, "prompt_tokens_details").get("cached_tokens")) or 0
    thought = _count(_part(usage, "completion_tokens_details").get("reasoning_tokens"))
    total = _count(usage.get("total_tokens"))
    if thought and prompt is not None and completion is not None and total == prompt + completion + thought:
        completion += thought  # xAI does not include the reasoning in completion_tokens
    return prompt or None, completion, min(cached, prompt or 0)


def _unusable(problem: str, reply: HttpReply) -> RequestFailed:
    text = f"the server's reply cannot be used: {problem}: {shorten_reply(reply.text)}"
    return RequestFailed(text, FailureKind.ATTEMPT_FAILED)


def _part(usage: dict[str, Any], name: str) -> dict[str, Any]:
    part = usage.get(name)
    return part if isinstance(part, dict) else {}


def _count(value: Any) -> int | None:
    """Return a number of tokens, whatever type the server gives it; None if it is not a count."""
    try:
        number = float(value) if isinstance(value, int | float | str) and not isinstance(value, bool) else -1.0
    except (ValueError, OverflowError):
        return None
    return int(number) if 0 <= number <= _MOST_TOKENS else None
