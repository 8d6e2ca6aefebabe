"""Reads JSON that models write, and asks again if a reply cannot be read."""

import json
import math
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from openthoughts_dagster.generation.json_escapes import repair_escapes
from openthoughts_dagster.generation.requests import AskModel, Prompt
from openthoughts_dagster.lake.unicode import has_lone_surrogate

_MOST_DIGITS = 400
_DEEPEST = 64  # nesting of lists and objects; deeper values take gigabytes and mean nothing
_MOST_STARTS = 256  # opening brackets in the text of a reply that are tried
_SCALAR = re.compile(r'-?[0-9][0-9.eE+-]*|true|false|null|".*"', re.DOTALL)
_PUNCTUATION = re.compile(r'["{}\[\]]')
_STRING_END = re.compile(r'(?:[^"\\]|\\.)*"', re.DOTALL)


@dataclass(frozen=True)
class JsonReading:
    """The value that was read from a model's replies to one prompt, or the reason why there is none.

    `failure` is None if there is a value, `judge_failed` if the request failed, and `reply_unreadable` if no reply had
    the right form. `evidence` is the error of the request, or the problem of the last reply with its text.
    """

    value: Any | None
    failure: str | None = None
    evidence: str = ""
    attempts: int = 1


def parse_json_reply(text: str, schema: dict[str, Any] | None = None) -> Any:
    r"""Return the JSON value in a model's reply, which may be surrounded by prose or a code fence.

    LaTeX is read as it was typed, whether the model doubled its backslashes or not: `\frac` is never a form feed, and
    `\alpha`, which is not valid JSON, can be read. Line breaks inside strings are allowed.

    Args:
        text: The reply without its reasoning.
        schema: A JSON schema that the value has to fit. Other values in the reply are ignored.

    Returns:
        The outermost JSON value; objects take precedence over lists. Several different values are an error, because
        choosing one of them would be a guess.

    Raises:
        ValueError: There is no JSON, it does not fit the schema, there are several values, it is nested more than 64
            levels deep, or a number or a text in it cannot be stored. The message says which.
    """
    problems: list[str] = []
    values: list[Any] = []
    for candidate in _find_candidates(text):
        try:
            value = _load_json(candidate)
            if problem := _schema_problem(value, schema):
                raise ValueError(problem)
        except ValueError as error:
            problems.append(str(error))
        else:
            values.append(value)
    values = [value for value in values if isinstance(value, dict)] or values
    if not values:
        unclosed = "the JSON in it is not closed, or its brackets do not match"
        raise ValueError(
            problems[-1] if problems else unclosed if re.search(r"[{\[]", text) else "there is no JSON in it"
        )
    if any(value != values[0] for value in values):
        raise ValueError(f"there are {len(values)} different JSON values in it")
    return values[0]


def ask_for_json(
    prompts: Sequence[str],
    ask: AskModel,
    schema: dict[str, Any],
    parse: Callable[[Any], Any | None],
    attempts: int,
) -> list[Any | None]:
    """Ask a model for JSON, and parse its reply to each prompt; None for a prompt whose replies could not be read.

    Every reply is in the ledger, so asking the same again later costs nothing and has the same result.

    Args:
        prompts: User messages, each asked once; a reply that cannot be read is asked again as the next sample.
        ask: Asks the model, e.g. `ledger_client(...)`.
        schema: JSON schema of a reply, sent along and checked.
        parse: Takes the JSON value of a reply. It returns None or raises ValueError if the value is not usable.
        attempts: The most samples of one prompt.

    Returns:
        One value per prompt, in order. `read_json_replies` says why a value is missing.

    Raises:
        EngineError: The model cannot be used, e.g. because its server refuses the key.
    """
    return [reading.value for reading in read_json_replies(prompts, ask, schema, parse, attempts)]


def read_json_replies(
    prompts: Sequence[str],
    ask: AskModel,
    schema: dict[str, Any],
    parse: Callable[[Any], Any | None],
    attempts: int,
) -> list[JsonReading]:
    """Do what `ask_for_json` does, and return the reason for each missing value.

    A request that failed without a reply is not asked again, because its engine has retried it already.
    """
    readings = [JsonReading(None, "reply_unreadable", "it was never asked", 0) for _ in prompts]
    waiting = list(range(len(prompts)))
    for attempt in range(attempts):
        if not waiting:
            break
        answers = ask([Prompt(prompts[at], 1, attempt, schema) for at in waiting])
        for at, [answer] in zip(waiting, answers, strict=True):
            if answer.error and not answer.answer:
                readings[at] = JsonReading(None, "judge_failed", answer.error, attempt + 1)
            else:
                readings[at] = _read(answer.answer, schema, parse, attempt + 1)
        waiting = [at for at in waiting if readings[at].failure == "reply_unreadable"]
    return readings


def _read(reply: str, schema: dict[str, Any], parse: Callable[[Any], Any | None], attempts: int) -> JsonReading:
    try:
        value = parse(parse_json_reply(reply, schema))
        problem = "it is not what was asked for"
    except ValueError as error:
        value, problem = None, str(error)
    if value is None:
        return JsonReading(None, "reply_unreadable", f"{problem}: {reply}", attempts)
    return JsonReading(value, attempts=attempts)


def make_object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Make an object of its JSON names and values. Raises ValueError if a name has two different values."""
    made = dict(pairs)
    if len(made) < len(pairs):
        for name, value in pairs:
            if made[name] != value:
                raise ValueError(f"the name {name!r} has two values")
    return made


def _find_candidates(text: str) -> Iterator[str]:
    """Yield the parts of a reply that may be its JSON: the whole reply, and the texts between outermost brackets."""
    stripped = text.strip()
    if _SCALAR.fullmatch(stripped):
        yield stripped
        return
    at = starts = 0
    while (opening := re.search(r"[{\[]", stripped[at:])) and starts < _MOST_STARTS:
        start, starts = at + opening.start(), starts + 1
        end = _end_of(stripped, start)
        if end is None:
            at = start + 1
        else:
            yield stripped[start:end]
            at = end


def _end_of(text: str, start: int) -> int | None:
    """Return where the bracket at `start` is closed, None if it is not. Raises ValueError for too deep nesting."""
    open_: list[str] = []
    at = start
    while found := _PUNCTUATION.search(text, at):
        mark, at = found[0], found.end()
        if mark == '"':
            string = _STRING_END.match(text, at)
            if string is None:
                return None
            at = string.end()
        elif mark in "{[":
            open_.append("}" if mark == "{" else "]")
            if len(open_) > _DEEPEST:
                raise ValueError(f"it is nested more than {_DEEPEST} levels deep")
        elif mark != open_.pop():
            return None
        elif not open_:
            return at
    return None


def _load_json(text: str) -> Any:
    value = json.loads(
        repair_escapes(text),
        strict=False,
        object_pairs_hook=make_object,
        parse_constant=_refuse_constant,
        parse_float=_parse_finite_float,
        parse_int=_parse_bounded_int,
    )
    if has_lone_surrogate(json.dumps(value, ensure_ascii=False)):
        raise ValueError("it has half a surrogate pair")
    return value


def _parse_bounded_int(digits: str) -> int:
    # The interpreter has a limit of its own, but libraries of mathematics turn it off for the whole process.
    if len(digits) > _MOST_DIGITS:
        raise ValueError(f"a number of it has {len(digits):,} digits, more than {_MOST_DIGITS}")
    return int(digits)


def _parse_finite_float(digits: str) -> float:
    number = float(digits)
    if not math.isfinite(number):
        raise ValueError(f"the number {digits[:20]} is too large")
    return number


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON")


def _schema_problem(value: Any, schema: dict[str, Any] | None) -> str | None:
    """Say why a value does not fit a JSON schema; None if it does."""
    if schema is None:
        return None
    from jsonschema import ValidationError

    try:
        _validator(json.dumps(schema, sort_keys=True)).validate(value)
    except ValidationError as error:
        return f"{error.json_path}: {error.message[:200]}"
    return None


@lru_cache(maxsize=64)
def _validator(schema: str) -> Any:
    from jsonschema.validators import validator_for

    value = json.loads(schema)
    return validator_for(value)(value)
