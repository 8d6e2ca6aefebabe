"""What a server is asked: the body of a request, and what the server does not take of it."""

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


class ServerParameters:
    """How one server wants its parameters: as the recipe says, and as the server's own refusals say.

    A server that names a parameter which it does not take is asked again without it, where that changes nothing of
    what the recipe asks for: `max_tokens` under its newer name, no seed, and no temperature or top_p that are at their
    default of 1. Any other refusal stops the run, for answers sampled otherwise are not those that were asked for.
    """

    def __init__(self, parameters: RequestParameters) -> None:
        self._rename = dict(parameters.rename)
        self._omit = set(parameters.omit)
        self._extra = dict(parameters.extra)

    def apply(self, body: dict[str, Any]) -> dict[str, Any]:
        """The body as the server takes it."""
        kept = {self._rename.get(name, name): value for name, value in body.items() if name not in self._omit}
        return kept | self._extra

    def learn(self, reply: HttpReply, sampling: Sampling) -> bool:
        """Whether a refusal was about a parameter that can be left out or renamed; from now on it is.

        Raises FatalServerError when the refused parameter is one that the recipe's sampling needs.
        """
        if reply.status not in (400, 422):
            return False
        text = f"{error_text(reply)} {reply.text[:2000]}"
        if _REFUSED.search(text) is None:
            return False
        name = error_parameter(reply) or _named_in(text)
        if name in self._omit or name in self._rename:  # requests in flight when it was learned
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
    """The parameter that a refusal names in its text, quoted before others; empty where it names none."""
    names = ("max_tokens", "temperature", "top_p", "top_k", "seed", "stream_options")
    quoted = re.findall(r"['\"`](\w+)['\"`]", text)
    return next((name for name in [*quoted, *re.findall(r"\w+", text)] if name in names), "")
