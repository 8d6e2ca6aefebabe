"""Pydantic's errors as sentences that a recipe's author can act on: which field, what it must be, what it is."""

from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from typing import Annotated, Any, Literal, get_args, get_origin

from annotated_types import Ge, Gt, Le, Lt
from pydantic import ValidationError
from pydantic.fields import FieldInfo

from openthoughts_dagster.recipe.fields import RecipeModel
from openthoughts_dagster.recipe.recipe import Recipe

_TAGS = ("reader", "method", "kind")
_KINDS = {
    "int": "a whole number",
    "float": "a number",
    "string": "text (put it in quotes)",
    "bool": "true or false",
    "list": "a list",
    "dict": "a mapping of names to settings",
    "model": "a mapping of names to settings",
    "finite": "a finite number",
}


def explained(error: ValidationError, document: Mapping[str, Any]) -> list[str]:
    """One line for each problem: `teachers.qwq-32b.sampling.top_p: must be in (0, 1], got 1.5`."""
    lines = [_line(problem, document) for problem in error.errors(include_url=False)]
    return list(dict.fromkeys(lines))


def models_in(annotation: Any) -> Iterator[type[RecipeModel]]:
    """The recipe models that a field's type is made of."""
    if isinstance(annotation, type) and issubclass(annotation, RecipeModel):
        yield annotation
    for argument in get_args(annotation):
        yield from models_in(argument)


def bounds(field: FieldInfo) -> str:
    """The range that a number must be in, such as "in (0, 1]" or "at least 1"; empty when any will do."""
    limits = [limit for metadata in _metadata(field) for limit in (metadata, *getattr(metadata, "metadata", ()))]
    low = next((limit for limit in limits if isinstance(limit, Gt | Ge)), None)
    high = next((limit for limit in limits if isinstance(limit, Lt | Le)), None)
    above = (low.gt if isinstance(low, Gt) else low.ge) if low else None
    below = (high.lt if isinstance(high, Lt) else high.le) if high else None
    if above is not None and below is not None:
        return f"in {'(' if isinstance(low, Gt) else '['}{above:g}, {below:g}{')' if isinstance(high, Lt) else ']'}"
    if above is not None:
        return f"greater than {above:g}" if isinstance(low, Gt) else f"at least {above:g}"
    if below is not None:
        return f"less than {below:g}" if isinstance(high, Lt) else f"at most {below:g}"
    return ""


def choices(field: FieldInfo) -> list[str]:
    """The values of a field that takes one of a few; empty for others."""
    return [str(value) for value in _literals(field.annotation)]


def _line(problem: Any, document: Mapping[str, Any]) -> str:
    location: tuple[int | str, ...] = tuple(part for part in problem["loc"] if part != "[key]")
    text = _sentence(problem, location, document)
    if problem["type"].startswith("union_tag"):
        location = (*location, problem["ctx"]["discriminator"].strip("'"))
    where = ".".join(_named(location, document))
    value = problem["ctx"]["tag"] if problem["type"] == "union_tag_invalid" else problem["input"]
    shows = problem["type"] not in ("missing", "union_tag_not_found", "extra_forbidden", "rule")
    got = f", got {value!r}" if shows and isinstance(value, str | int | float | bool | None) else ""
    return f"{where}: {text}{got}" if where else text


def _sentence(problem: Any, location: tuple[int | str, ...], document: Mapping[str, Any]) -> str:
    kind, context = problem["type"], problem.get("ctx", {})
    models, field = _field(location, document)
    if kind == "missing":
        return f"is missing; add it: {field.description}" if field and field.description else "is missing; add it"
    if kind == "extra_forbidden":
        known = sorted({name for model in models for name in model.model_fields})
        close = get_close_matches(str(location[-1]), known, n=1)
        return f"is not a setting here{f'; did you mean {close[0]}?' if close else ''}; the settings are {', '.join(known)}"
    if kind == "union_tag_not_found":
        tags = [tag for model in models for tag in _tags(model)]
        return f"is missing; it is one of {', '.join(tags)}"
    if kind == "union_tag_invalid":
        return f"must be one of {context['expected_tags']}"
    if kind == "literal_error":
        return f"must be {context['expected']}"
    if kind in ("greater_than", "greater_than_equal", "less_than", "less_than_equal"):
        return f"must be {bounds(field)}" if field and bounds(field) else problem["msg"]
    if kind == "too_short":
        return "needs at least one entry"
    for prefix, name in _KINDS.items():
        if kind.startswith(f"{prefix}_"):
            return f"must be {name}"
    return str(problem["msg"]).removeprefix("Value error, ").partition(", got ")[0]


def _named(location: tuple[int | str, ...], document: Any) -> list[str]:
    """`sources.gsm8k.path` for ('sources', 3, 'files', 'path'): names say more than indexes."""
    parts: list[str] = []
    value: Any = document
    for part in location:
        if isinstance(part, int) and isinstance(value, list) and part < len(value):
            value = value[part]
            name = value.get("name") if isinstance(value, dict) else None
            parts.append(str(name or part))
        elif isinstance(value, dict) and part in value:
            value = value[part]
            parts.append(str(part))
        elif isinstance(value, dict) and part in [value.get(tag) for tag in _TAGS]:
            continue
        else:
            parts.append(str(part))
    return parts


def _field(
    location: tuple[int | str, ...], document: Mapping[str, Any]
) -> tuple[list[type[RecipeModel]], FieldInfo | None]:
    """The model or models whose field `location` leads to, and the field if there is one."""
    models: list[type[RecipeModel]] = [Recipe]
    owners, field, value = models, None, document
    for part in location:
        tagged = [model for model in models if part in _tags(model)]
        if isinstance(part, str) and tagged and not (isinstance(value, dict) and part in value):
            models = tagged
            owners, field = models, None
            continue
        try:
            value = value[part]  # type: ignore[index]
        except (KeyError, IndexError, TypeError):
            value = {}
        if isinstance(part, int):
            field = None
            continue
        found = next((model for model in models if part in model.model_fields), None)
        owners, field = models, found.model_fields[part] if found else None
        models = list(models_in(field.annotation)) if field else models
    return owners if field or not location or isinstance(location[-1], str) else models, field


def _tags(model: type[RecipeModel]) -> list[str]:
    return [tag for name in _TAGS if name in model.model_fields for tag in choices(model.model_fields[name])]


def _literals(annotation: Any) -> Iterator[Any]:
    if get_origin(annotation) is Literal:
        yield from get_args(annotation)
    else:
        for argument in get_args(annotation):
            yield from _literals(argument)


def _metadata(field: FieldInfo) -> Iterator[Any]:
    yield from field.metadata
    yield from _annotations(field.annotation)


def _annotations(annotation: Any) -> Iterator[Any]:
    if get_origin(annotation) is Annotated:
        yield from get_args(annotation)[1:]
    for argument in get_args(annotation):
        yield from _annotations(argument)
