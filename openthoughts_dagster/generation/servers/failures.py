"""Classifies a server's refusal: whether it concerns one request or all, and whether it is permanent."""

import re
from typing import Any

from openthoughts_dagster.generation.servers.http_client import HttpReply
from openthoughts_dagster.generation.servers.retry_policy import (
    FailureKind,
    FatalServerError,
    RequestFailed,
    retry_after,
)

_SHOWN = 300  # characters of a reply that an error shows

# Words in refusals that say more than the status does. An account without credit gets status 400, 402, 403 or 429, and
# a failing provider behind a router gives status 400.
_ACCOUNT = re.compile(
    r"insufficient[_ ](quota|credit|balance|fund)|out of credit|no credit|credit balance|more credits|credits? (limit|"
    r"exhausted|depleted)|billing|payment|exceeded your current quota|spending limit|account .{0,40}(deactivated|"
    r"suspended|disabled|terminated)|arrears|overdue",
    re.IGNORECASE,
)
_PROVIDER = re.compile(
    r"provider (returned|error)|upstream|overloaded|temporarily|try again|internal error|server error|timed? ?out|"
    r"unavailable|no healthy|capacity|not ready|model .{0,40}(loading|warming)",
    re.IGNORECASE,
)
_FILTER = re.compile(
    r"content[_ ]?(filter|policy|management)|moderation|flagged|safety|prohibited_content|"
    r"data_inspection|inappropriate|sensitive content|usage polic(y|ies)",
    re.IGNORECASE,
)
_TOO_LONG = re.compile(
    r"context[_ ]?length|context[_ ]?window|maximum context|prompt is too long|input (is )?too long|too many (input )?"
    r"tokens|string_above_max_length|exceeds? the (maximum|model'?s?)|reduce the length|request too large",
    re.IGNORECASE,
)
_PROMPT_AT_FAULT = re.compile(r"invalid_prompt|\b(messages|prompt|input)\b(\[|\.|:| (is|are|must|contains?) )", re.I)


def failure_of(reply: HttpReply, answers_others: bool) -> RequestFailed | FatalServerError:
    """Classify a reply without an answer.

    Args:
        reply: A reply of a status other than 200, or of 200 with an error as its body.
        answers_others: Whether the server has answered requests that ask in the same way.
    """
    error = _error_in(reply.body)
    message, code = _message_of(reply, error), _code_of(error)
    status = _status_of(reply.status, error)
    said = f"{code} {message}"
    problem = f"HTTP {reply.status}: {message}"
    wait = retry_after(reply.headers)
    if 300 <= status < 400:
        return FatalServerError(
            f"HTTP {status}: it redirects to {reply.headers.get('location')}, and redirects are not followed; "
            "correct base_url"
        )
    if _FILTER.search(said) and status < 500 and status not in (401, 402, 429) and not _is_about_a_setting(error):
        return RequestFailed(problem, FailureKind.REJECTED, reason="content_filter", permanent=True)
    if status in (401, 402, 407) or (
        status in (400, 403, 404, 429) and _is_about_the_account(status, said, reply.text)
    ):
        return FatalServerError(problem)
    if status == 403:
        if answers_others:  # the prompt is refused, and not our key
            return RequestFailed(problem, FailureKind.REJECTED)
        return FatalServerError(problem)
    if status == 429:
        return RequestFailed(problem, FailureKind.RATE_LIMITED, wait)
    if status in (504, 524):
        return RequestFailed(f"{problem}: set stream: always", FailureKind.TIMED_OUT, wait)
    if status in (502, 503, 520, 521, 522, 523, 525, 529, 530):
        return RequestFailed(problem, FailureKind.UNAVAILABLE, wait)
    if status in (408, 409, 425) or status >= 500 or status == 200:
        return RequestFailed(problem, FailureKind.ATTEMPT_FAILED if wait is None else FailureKind.UNAVAILABLE, wait)
    if _TOO_LONG.search(said) or status == 413:
        return RequestFailed(problem, FailureKind.REJECTED, permanent=True)
    if _PROVIDER.search(said):
        return RequestFailed(problem, FailureKind.ATTEMPT_FAILED, wait)
    # A request is at fault if the server says so and has answered others that ask in the same way. A 400 with another
    # cause, such as a wrong setting of the recipe or the server, is asked again by the next run.
    at_fault = status == 422 or _PROMPT_AT_FAULT.search(f"{said} {_param_of(error)}:") is not None
    return RequestFailed(problem, FailureKind.REJECTED, permanent=answers_others and at_fault)


def error_text(reply: HttpReply) -> str:
    """Return what a server says about an error, in one line of at most 300 characters."""
    return _message_of(reply, _error_in(reply.body))


def shorten_reply(text: str) -> str:
    """Return the beginning of a reply's text, for an error."""
    return text[:_SHOWN].strip() or "(empty)"


def error_parameter(reply: HttpReply) -> str:
    """Return the parameter that a refusal names in a field of its own; an empty text if it names none."""
    return _param_of(_error_in(reply.body))


def _error_in(body: Any) -> dict[str, Any]:
    error = body.get("error", body) if isinstance(body, dict) else body
    if isinstance(error, list) and error:  # Google sends a list of one error
        return _error_in(error[0])
    if isinstance(error, str):
        return {"message": error}
    return error if isinstance(error, dict) else {}


def _message_of(reply: HttpReply, error: dict[str, Any]) -> str:
    message = error.get("message") or error.get("detail") or shorten_reply(reply.text)
    metadata = error.get("metadata")  # OpenRouter has here what the provider said, and why a prompt was moderated
    if isinstance(metadata, dict):
        more = [str(metadata[name]) for name in ("raw", "reasons") if metadata.get(name)]
        message = " ".join([str(message), *more])
    return str(message)[:_SHOWN]


def _code_of(error: dict[str, Any]) -> str:
    return " ".join(str(error[name]) for name in ("code", "type", "status") if error.get(name))


def _param_of(error: dict[str, Any]) -> str:
    return str(error.get("param") or "")


def _is_about_a_setting(error: dict[str, Any]) -> bool:
    """Return whether a refusal names a parameter other than the prompt, such as `safety_settings`."""
    name = _param_of(error)
    return bool(name) and _PROMPT_AT_FAULT.search(f"{name}:") is None


def _status_of(status: int, error: dict[str, Any]) -> int:
    """Return the status of an error; gateways put it into the body of a reply of status 200."""
    if status != 200:
        return status
    for name in ("code", "status", "status_code"):
        value = error.get(name)
        if str(value).isdecimal() and 300 <= int(str(value)) < 600:
            return int(str(value))
    return status


def _is_about_the_account(status: int, said: str, text: str) -> bool:
    """Return whether an account is empty or closed; a 429 that names a window of time is only a rate limit."""
    if _ACCOUNT.search(said) is None:
        return False
    window = re.search(r"per[_ ]?(second|minute|min|hour|day)\b|rate[_ ]?limit", f"{said} {text[:4000]}", re.IGNORECASE)
    return status != 429 or window is None or "insufficient_quota" in said
