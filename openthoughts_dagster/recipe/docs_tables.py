"""Prints every setting of a recipe as markdown tables, which are the end of docs/recipes.md.

`python -m openthoughts_dagster.recipe.docs_tables` prints it.
"""

from typing import Any, get_args

from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from openthoughts_dagster.recipe.hardware import SHAPES
from openthoughts_dagster.recipe.recipe import Recipe


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
    """Return markdown tables of all models with the columns setting, type, default and meaning."""
    parts = []
    for model in models_of(Recipe):
        parts += [f"### {model.__name__}", "", _first_sentence(model), "", "| setting | type | default | meaning |"]
        parts += ["|---|---|---|---|", *(_format_row(name, field) for name, field in model.model_fields.items()), ""]
    return "\n".join([*parts, *_shapes()])


def _shapes() -> list[str]:
    parts = ["### Shapes", "", "What `hardware` may name instead of a mapping.", ""]
    parts += ["| shape | accelerator | count | memory | cpus | disk |", "|---|---|---|---|---|---|"]
    rows = [(name, s.accelerator, s.count, s.memory, s.cpus, s.disk) for name, s in SHAPES.items()]
    return [*parts, *(f"| {' | '.join(map(str, row))} |" for row in rows), ""]


def _first_sentence(model: type[BaseModel]) -> str:
    return " ".join((model.__doc__ or "").split("\n\n")[0].split())


def _format_row(name: str, field: Any) -> str:
    default = "required" if field.default is PydanticUndefined else _format_default(field.default)
    return f"| `{name}` | {_format_type(field.annotation)} | {default} | {field.description} |".replace("\n", " ")


def _format_default(value: Any) -> str:
    return "see there" if isinstance(value, BaseModel) else "" if value is None else f"`{value}`"


def _format_type(annotation: Any) -> str:
    if isinstance(annotation, type):
        return annotation.__name__
    arguments = [argument for argument in get_args(annotation) if argument is not type(None)]
    if str(annotation).startswith("typing.Literal"):
        return ", ".join(str(argument) for argument in arguments)
    if getattr(annotation, "__metadata__", None) is not None:
        return _format_type(arguments[0])
    inner = [_format_type(argument) for argument in arguments]
    origin = getattr(annotation, "__origin__", None)
    return f"{origin.__name__} of {' to '.join(inner)}" if origin in (list, dict) else " or ".join(inner) or "any"


if __name__ == "__main__":
    print(reference())
