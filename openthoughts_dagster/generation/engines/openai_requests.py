"""Makes the body of a request to a server, and adapts it to the parameters that the server takes."""

import re
from typing import Any

from openthoughts_dagster.generation.requests import Request
from openthoughts_dagster.generation.servers.failures import error_parameter, error_text
from openthoughts_dagster.generation.servers.http_client import HttpReply
from openthoughts_dagster.generation.servers.retry_policy import FatalServerError
from openthoughts_dagster.recipe import RequestParameters, Sampling

_REFUSED = re.compile(
    r"unsupported|not supported|does not support|unrecognized|unknown|unexpected|not permitted|extra inputs|"
    r"not allowed|invalid (parameter|argument)|only the default",
    re.IGNORECASE,
)

# "maximum context length is 8192 tokens. However, you requested 8250 tokens (58 in the messages, 8192 in the ..."
_LONGEST = re.compile(r"context length is ([\d,]+) tokens", re.IGNORECASE)
_PROMPT_TOKENS = re.compile(
    r"([\d,]+) (?:tokens )?(?:in the (?:messages|prompt|input)|in your prompt|of text input|input tokens)",
    re.IGNORECASE,
)


def request_body(request: Request, model: str, is_vllm: bool, tokens: list[int] | None, room: int) -> dict[str, Any]:
    """Return the body of a completion of `tokens`, or of a chat completion of the messages if they are None."""
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
        # send every setting: vLLM would take absent ones from the checkpoint's generation_config.json
        body |= {"top_k": sampling.top_k, "min_p": 0.0, "repetition_penalty": 1.0}
        if sampling.thinking_budget is not None:
            body |= {"thinking_token_budget": sampling.thinking_budget, "return_token_ids": True}
        if (guard := sampling.repetition) is not None:
            pattern = {"max_pattern_size": guard.longest, "min_pattern_size": guard.shortest, "min_count": guard.times}
            body["repetition_detection"] = pattern
    return body


def room_in_refusal(text: str) -> int | None:
    """Return how many tokens a prompt leaves of the longest sequence, by a server's refusal; None if it says not."""
    longest, prompt = _LONGEST.search(text), _PROMPT_TOKENS.search(text)
    if longest is None or prompt is None:
        return None
    return int(longest[1].replace(",", "")) - int(prompt[1].replace(",", ""))


class ServerParameters:
    """Adapts parameters to one server, by the recipe and by what the server's refusals say.

    If a server refuses a parameter, the request is sent again without it where that does not change the sampling:
    `max_tokens` is sent under its newer name, and a seed, or a temperature or top_p of 1, is left out. Any other
    refusal stops the run, because the answers would not be sampled as the recipe says.
    """

    def __init__(self, parameters: RequestParameters) -> None:
        self._rename = dict(parameters.rename)
        self._omit = set(parameters.omit)
        self._extra = dict(parameters.extra)

    def apply(self, body: dict[str, Any]) -> dict[str, Any]:
        """Return the body with the parameters that the server takes."""
        kept = {self._rename.get(name, name): value for name, value in body.items() if name not in self._omit}
        return kept | self._extra

    def learn(self, reply: HttpReply, sampling: Sampling) -> bool:
        """Leave out or rename the parameter that a refusal names, from now on; return whether there was one.

        Raises:
            FatalServerError: The recipe's sampling needs the refused parameter.
        """
        if reply.status not in (400, 422):
            return False
        text = f"{error_text(reply)} {reply.text[:2000]}"
        if _REFUSED.search(text) is None:
            return False
        name = error_parameter(reply) or _named_in(text)
        if name in self._omit or name in self._rename:  # this request was in flight when the refusal was learned
            return name != self._rename.get(name)
        if name == "max_tokens":
            self._rename[name] = "max_completion_tokens"
        elif name in ("seed", "stream_options"):
            self._omit.add(name)
        elif name in ("temperature", "top_p"):
            if getattr(sampling, name) != 1:
                raise FatalServerError(
                    f"{error_text(reply)}. The recipe sets sampling.{name} to {getattr(sampling, name):g}: set it to "
                    f"1, or write parameters: {{omit: [{name}]}} to let the server choose"
                )
            self._omit.add(name)
        elif name == "top_k" and sampling.top_k:
            raise FatalServerError(
                f"{error_text(reply)}. Remove sampling.top_k, or write parameters: {{omit: [top_k]}}"
            )
        else:
            return False
        return True


def _named_in(text: str) -> str:
    """Return the parameter that a refusal's text names, a quoted one first; an empty text if it names none."""
    names = ("max_tokens", "temperature", "top_p", "top_k", "seed", "stream_options")
    quoted = re.findall(r"['\"`](\w+)['\"`]", text)
    return next((name for name in [*quoted, *re.findall(r"\w+", text)] if name in names), "")
