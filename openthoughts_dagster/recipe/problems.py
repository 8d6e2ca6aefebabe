"""Translates pydantic's errors for a recipe's author: the setting, what it must be, what it is, and what to do."""

from collections.abc import Callable, Mapping
from difflib import get_close_matches
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from openthoughts_dagster.recipe.suggestions import did_you_mean

Location = tuple[int | str, ...]

_MUST: dict[str, Callable[[Mapping[str, Any]], str]] = {
    "greater_than": lambda limit: f"must be above {limit['gt']:g}",
    "greater_than_equal": lambda limit: f"must be at least {limit['ge']:g}",
    "less_than": lambda limit: f"must be below {limit['lt']:g}",
    "less_than_equal": lambda limit: f"must be at most {limit['le']:g}",
    "finite_number": lambda _: "must be a finite number",
    "too_short": lambda _: "needs at least one entry; add one",
}
_KINDS = {
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "string": "text; put it in quotes",
    "list": "a list, each entry after '- '",
    "dict": "a mapping, each line 'setting: value'",
    "model": "a mapping, each line 'setting: value'",
}


def describe_problems(
    error: ValidationError, document: Mapping[str, Any], root: type[BaseModel]
) -> list[tuple[Location, str]]:
    """Describe each problem in a line such as `teachers.qwq-32b.sampling.top_p: must be at most 1, got 1.5`.

    Args:
        error: The error of pydantic.
        document: The raw document.
        root: The model that the document should be.

    Returns:
        The location and the line of each problem.
    """
    lines = list[tuple[Location, str]]()
    for problem in error.errors():
        location = tuple(part for part in problem["loc"] if part != "[key]")
        for where, message in _messages(problem, location, root):
            place = named_location(where, document)
            lines.append((where, f"{place}: {message}" if place else message))
    return lines


def named_location(location: Location, document: Any) -> str:
    """Name a location: `sources.gsm8k.path` for ('sources', 3, 'files', 'path')."""
    parts: list[str] = []
    value: Any = document
    for part in location:
        if isinstance(value, list) and isinstance(part, int) and part < len(value):
            value = value[part]
            name = value.get("name") if isinstance(value, Mapping) else None
            parts.append(name if isinstance(name, str) and name else str(part))
        elif isinstance(value, Mapping) and part in value:
            value = value[part]
            parts.append(str(part))
        elif isinstance(value, Mapping) and part in (value.get("reader"), value.get("method"), value.get("kind")):
            continue  # pydantic inserts the name of the union's branch, which the author did not write
        else:
            parts.append(str(part))
    return ".".join(parts)


def _messages(problem: ErrorDetails, location: Location, root: type[BaseModel]) -> list[tuple[Location, str]]:
    kind, context, got = problem["type"], problem.get("ctx", {}), _show_value(problem.get("input"))
    if kind == "missing":
        return [(location, _describe_missing(location, root))]
    if kind == "extra_forbidden":
        known, below = _settings(location[:-1], root), _settings_below(location[:-1], root)
        return [(location, _describe_unknown(str(location[-1]), known, below))]
    if kind in ("union_tag_invalid", "union_tag_not_found"):
        where = (*location, str(context["discriminator"]).strip("'"))
        names = _tags(location, root)
        if kind == "union_tag_not_found":
            return [(where, f"is missing; add it: one of {', '.join(names)}")]
        return [(where, _describe_choice(str(context["tag"]), names))]
    if kind == "literal_error":
        expected = get_args(_unwrapped(_annotation(location, root)))
        return [(location, _describe_choice(problem["input"], [str(name) for name in expected]))]
    if kind in _MUST:
        must = _MUST[kind](context)
        return [(location, must if kind == "too_short" else f"{must}, got {got}")]
    base = kind.partition("_")[0]
    if base in _KINDS and kind != "value_error":
        must, _, remedy = _KINDS[base].partition("; ")
        return [(location, f"must be {must}, got {got}" + (f"; {remedy}" if remedy else ""))]
    lines = problem["msg"].removeprefix("Value error, ").splitlines()
    scalar = isinstance(problem.get("input"), str | int | float)
    return [(location, f"{line}, got {got}" if scalar and "got" not in line else line) for line in lines]


def _describe_missing(location: Location, root: type[BaseModel]) -> str:
    owner, name = _unwrapped(_annotation(location[:-1], root)), str(location[-1])
    if isinstance(owner, type) and issubclass(owner, BaseModel) and name in owner.model_fields:
        return f"is missing; add it: {owner.model_fields[name].description}"
    return "is missing; add it"


def _describe_unknown(key: str, known: list[str], below: Mapping[str, list[str]]) -> str:
    if key not in below and (hint := did_you_mean(key, known)):
        return f"is not a setting here; {hint}"
    if close := get_close_matches(key, below, n=1):  # `epochs` of the student is a setting of its `training`
        return f"is not a setting here; did you mean {' or '.join(map(repr, below[close[0]]))}?"
    return f"is not a setting here; there are {', '.join(known)}" if known else "is not a setting here; remove it"


def _describe_choice(value: Any, names: list[str]) -> str:
    hint = did_you_mean(str(value), names)
    return f"must be one of {', '.join(names)}, got {_show_value(value)}" + (f"; {hint}" if hint else "")


def _show_value(value: Any) -> str:
    if isinstance(value, Mapping):
        return "a mapping"
    if isinstance(value, list):
        return "a list"
    return "nothing" if value is None else repr(value) if isinstance(value, str | int | float) else f"'{value}'"


def _settings(location: Location, root: type[BaseModel]) -> list[str]:
    owner = _unwrapped(_annotation(location, root))
    return list(owner.model_fields) if isinstance(owner, type) and issubclass(owner, BaseModel) else []


def _settings_below(location: Location, root: type[BaseModel]) -> dict[str, list[str]]:
    """Return where each setting of the models one level below `location` is, such as `sampling.temperature`."""
    found: dict[str, list[str]] = {}
    for name in _settings(location, root):
        for inner in _settings((*location, name), root):
            found.setdefault(inner, []).append(f"{name}.{inner}")
    return found


def _tags(location: Location, root: type[BaseModel]) -> list[str]:
    return [tag for member in get_args(_unwrapped(_annotation(location, root))) for tag in _tags_of(member)]


def _tags_of(member: type[BaseModel]) -> list[str]:
    """Return the values of a union member's discriminator, which is its only required literal."""
    return [
        str(tag)
        for field in member.model_fields.values()
        if get_origin(field.annotation) is Literal and field.is_required()
        for tag in get_args(field.annotation)
    ]


def _annotation(location: Location, root: type[BaseModel]) -> Any:
    """Return the type of the field at `location` in the models below `root`; Any when it is not known."""
    annotation: Any = root
    for part in location:
        annotation = _unwrapped(annotation)
        origin, inner = get_origin(annotation), get_args(annotation)
        if isinstance(annotation, type) and issubclass(annotation, BaseModel) and part in annotation.model_fields:
            annotation = annotation.model_fields[str(part)].annotation
        elif origin is list:
            annotation = inner[0]
        elif origin is dict:
            annotation = inner[1]
        elif origin in (Union, UnionType):
            annotation = next((member for member in inner if part in _tags_of(member)), Any)
        else:
            return Any
    return annotation


def _unwrapped(annotation: Any) -> Any:
    """Return the annotation without Annotated and without `| None`."""
    if get_origin(annotation) is Annotated:
        return _unwrapped(get_args(annotation)[0])
    if get_origin(annotation) in (Union, UnionType):
        members = [member for member in get_args(annotation) if member is not NoneType]
        return _unwrapped(members[0]) if len(members) == 1 else annotation
    return annotation
