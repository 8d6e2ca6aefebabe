"""Makes completions from a model's text: decides the finish reason, and validates JSON that was asked for."""

from collections.abc import Mapping

from openthoughts_dagster.generation.json_replies import parse_json_reply
from openthoughts_dagster.generation.reasoning import split_reasoning
from openthoughts_dagster.generation.requests import Completion, Request


def make_completion(
    request: Request,
    text: str,
    reason: str,
    prompt_tokens: int,
    completion_tokens: int,
    seconds: float,
    *,
    thinking_tokens: int = 0,
    written_tokens: int = 0,
    cached_tokens: int = 0,
    retries: int = 0,
    served: Mapping[str, str] | None = None,
) -> Completion:
    """Make the completion of a text.

    Args:
        request: The request.
        text: What the model wrote now.
        reason: Why it ended, a word of FINISH_REASONS.
        prompt_tokens: Tokens of the prompt.
        completion_tokens: Tokens of `text`.
        seconds: Seconds from the request to the last token.
        thinking_tokens: They decide whether a thinking budget was used up.
        written_tokens: Tokens of `request.written` if the engine continued it; 0 if it began anew.
        cached_tokens: Tokens of the prompt that the engine had in its cache.
        retries: Attempts before the last one.
        served: What the ledger records about the server.
    """
    if written_tokens:
        text = request.written + text
    budget = request.sampling.thinking_budget
    if reason == "stop" and budget is not None and thinking_tokens >= budget:
        reason = "thinking_budget"
    problem = None
    if reason == "content_filter":
        problem = "the server's content filter or the model itself refused to answer"
    elif request.json_schema is not None:
        answer = split_reasoning(text, request.prompt).answer
        try:
            parse_json_reply(answer, request.json_schema)
        except ValueError as error:
            problem = f"the reply is not the JSON that was asked for ({reason}): {error}"
            reason = "invalid_json" if reason in ("stop", "thinking_budget") else reason
    return Completion(
        request,
        text,
        reason,
        prompt_tokens,
        written_tokens + completion_tokens,
        seconds,
        cached_tokens=cached_tokens,
        written_tokens=written_tokens,
        error=problem,
        retries=retries,
        permanent=problem is not None,  # the same seed would produce the same text again
        served=tuple(sorted((served or {}).items())),
    )


def make_failure(
    request: Request,
    problem: str,
    seconds: float = 0.0,
    *,
    prompt_tokens: int = 0,
    permanent: bool = False,
    retries: int = 0,
    reason: str = "error",
) -> Completion:
    """Make the completion of a request that has no answer."""
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
