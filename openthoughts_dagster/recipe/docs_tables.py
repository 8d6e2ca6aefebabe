"""Prints every setting of a recipe as markdown tables, which are the end of docs/recipes.md.

`python -m openthoughts_dagster.recipe.docs_tables` prints it.
"""

import textwrap
from typing import Any, get_args

from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from openthoughts_dagster.recipe.fields import RecipeModel
from openthoughts_dagster.recipe.hardware import SHAPES
from openthoughts_dagster.recipe.recipe import Recipe

_CHOOSERS = ("reader", "method", "kind")
_SHARED = 4
"""Settings that a class has which gets a table of its own, in place of rows in the table of each of its heirs."""


def models_of(root: type[BaseModel]) -> list[type[BaseModel]]:
    """Return `root` and every model that its fields use, each once, in the order of the fields."""
    found: list[type[BaseModel]] = []

    def visit(annotation: Any) -> None:
        if isinstance(annotation, type) and issubclass(annotation, BaseModel) and annotation not in found:
            found.append(annotation)
            for field in annotation.model_fields.values():
                visit(field.annotation)
        for part in get_args(annotation):
            visit(part)

    visit(root)
    return found


def reference() -> str:
    """Return a list of contents and markdown tables of all models: setting, type, default and meaning.

    Settings that several models share are in one table, of the class that the models inherit them from.
    """
    sections: list[str] = []
    for model in _with_shared_bases(models_of(Recipe)):
        sections += _section(model)
    sections += _shapes()
    titles = [line.removeprefix("### ") for line in sections if line.startswith("### ")]
    links = "Tables: " + ", ".join(map(_link, titles)) + "."
    return "\n".join([textwrap.fill(links, 120, break_long_words=False, break_on_hyphens=False), "", *sections])


def _with_shared_bases(models: list[type[BaseModel]]) -> list[type[BaseModel]]:
    """Return the models, each after the class that it inherits its settings from if that has a table of its own."""
    found: list[type[BaseModel]] = []

    def add(model: type[BaseModel]) -> None:
        if (base := _base_of(model)) is not None:
            add(base)
        if model not in found:
            found.append(model)

    for model in models:
        add(model)
    return found


def _base_of(model: type[BaseModel]) -> type[BaseModel] | None:
    """Return the class that `model` inherits more than a few settings from."""
    base = model.__bases__[0]
    return base if issubclass(base, RecipeModel) and len(base.model_fields) >= _SHARED else None


def _section(model: type[BaseModel]) -> list[str]:
    base = _base_of(model)
    rows = [
        _format_row(name, field)
        for name, field in model.model_fields.items()
        if base is None or name not in base.model_fields
    ]
    parts = [f"### {model.__name__}", "", _first_sentence(model), ""]
    if base is not None:
        parts += [f"It has the settings of {_link(base.__name__)}{', and these' if rows else ''}.", ""]
    return [*parts, "| setting | type | default | meaning |", "|---|---|---|---|", *rows, ""] if rows else parts


def _shapes() -> list[str]:
    parts = ["### Shapes", "", "What `hardware` may name instead of a mapping.", ""]
    parts += ["| shape | accelerator | count | memory | cpus | disk |", "|---|---|---|---|---|---|"]
    rows = [(name, s.accelerator, s.count, s.memory, s.cpus, s.disk) for name, s in SHAPES.items()]
    return [*parts, *(f"| {' | '.join(map(str, row))} |" for row in rows), ""]


def _first_sentence(model: type[BaseModel]) -> str:
    return " ".join((model.__doc__ or "").split("\n\n")[0].split())


def _format_row(name: str, field: Any) -> str:
    default = "required" if field.default is PydanticUndefined else _format_default(field.default)
    meaning = str(field.description).replace("|", "\\|")
    return f"| `{name}` | {_format_type(field.annotation)} | {default} | {meaning} |".replace("\n", " ")


def _format_default(value: Any) -> str:
    return "its defaults" if isinstance(value, BaseModel) else "" if value is None else f"`{value}`"


def _format_type(annotation: Any) -> str:
    if isinstance(annotation, type):
        return _link(annotation.__name__) if issubclass(annotation, BaseModel) else annotation.__name__
    arguments = [argument for argument in get_args(annotation) if argument is not type(None)]
    if str(annotation).startswith("typing.Literal"):
        return ", ".join(str(argument) for argument in arguments)
    if getattr(annotation, "__metadata__", None) is not None:
        return _format_type(arguments[0])
    if chosen := _format_choice(arguments):
        return chosen
    inner = [_format_type(argument) for argument in arguments]
    origin = getattr(annotation, "__origin__", None)
    if origin is list and inner[0].startswith("by "):
        return f"list, {inner[0]}"
    return f"{origin.__name__} of {' to '.join(inner)}" if origin in (list, dict) else " or ".join(inner) or "any"


def _format_choice(models: list[Any]) -> str | None:
    """Format models between which one setting chooses by that setting's values, as people write them."""
    if len(models) < 2 or not all(isinstance(model, type) and issubclass(model, BaseModel) for model in models):
        return None
    for chooser in _CHOOSERS:
        if all(chooser in model.model_fields for model in models):
            values = [(get_args(model.model_fields[chooser].annotation)[0], model.__name__) for model in models]
            return f"by `{chooser}`: " + ", ".join(f"[{value}](#{name.lower()})" for value, name in values)
    return None


def _link(name: str) -> str:
    return f"[{name}](#{name.lower()})"


if __name__ == "__main__":
    print(reference())
