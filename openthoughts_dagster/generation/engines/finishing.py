"""What every engine does with what its model wrote: name how it ended, and validate JSON that was asked for."""

import json
from functools import lru_cache
from typing import Any

from openthoughts_dagster.generation.reasoning import split_reasoning
from openthoughts_dagster.generation.requests import Completion, Request


def finished(
    request: Request,
    text: str,
    reason: str,
    prompt_tokens: int,
    completion_tokens: int,
    seconds: float,
    *,
    thinking_tokens: int = 0,
    cached_tokens: int = 0,
    retries: int = 0,
) -> Completion:
    """The completion of a text. `thinking_tokens` says whether the thinking budget, if there is one, was used up."""
    budget = request.sampling.thinking_budget
    if reason == "stop" and budget is not None and thinking_tokens >= budget:
        reason = "thinking_budget"
    problem = None
    if reason == "content_filter":
        problem = "the server's content filter or the model itself refused to answer"
    elif request.json_schema is not None:
        answer = split_reasoning(text, request.prompt).answer
        problem = json_problem(answer, json.dumps(request.json_schema))
        if problem is not None:
            problem = f"the reply is not the JSON that was asked for ({reason}): {problem}"
            reason = "invalid_json" if reason in ("stop", "thinking_budget") else reason
    return Completion(
        request,
        text,
        reason,
        prompt_tokens,
        completion_tokens,
        seconds,
        cached_tokens=cached_tokens,
        error=problem,
        retries=retries,
        permanent=problem is not None,  # the sample's seed would bring the same text again
    )


def failed(
    request: Request,
    problem: str,
    seconds: float = 0.0,
    *,
    prompt_tokens: int = 0,
    permanent: bool = False,
    retries: int = 0,
    reason: str = "error",
) -> Completion:
    """The completion of a request that has no answer."""
    return Completion(
        request,
        "",
        reason,
        prompt_tokens,
        0,
        seconds,
        error=problem,
        retries=retries,
        permanent=permanent,
    )


def json_problem(answer: str, schema: str) -> str | None:
    """Why `answer` holds no JSON of `schema`, or None when it does.

    Servers that ignore a schema wrap the object in prose or a code fence: the outermost braces count.
    """
    from jsonschema import ValidationError

    text = answer.strip()
    if text[:1] not in ("{", "[") and "{" in text and "}" in text:
        text = text[text.index("{") : text.rindex("}") + 1]
    try:
        value = json.loads(text, parse_constant=_refuse_constant)
        json.dumps(value, ensure_ascii=False).encode()  # half a surrogate pair, escaped, fits no table
        _validator(schema).validate(value)
    except ValidationError as error:
        return f"{error.json_path}: {error.message[:200]}"
    except UnicodeEncodeError:
        return "it has half a surrogate pair"
    except RecursionError:
        return "it is nested too deeply"
    except ValueError as error:
        return str(error)
    return None


@lru_cache(maxsize=64)
def _validator(schema: str) -> Any:
    from jsonschema.validators import validator_for

    value = json.loads(schema)
    return validator_for(value)(value)


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON")
