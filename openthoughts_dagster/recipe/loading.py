"""YAML in, a Recipe out, or every mistake in the file at once: file, field, value and remedy."""

import os
import re
from collections.abc import Hashable, Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from openthoughts_dagster.recipe.recipe import Recipe

SHIPPED = Path(str(files("openthoughts_dagster") / "recipes"))
_VARIABLE = re.compile(r"\$\{(\w+)\}")


class RecipeError(ValueError):
    """A recipe that cannot be used. The message lists every problem, one per line."""


class _OneKeyEach(yaml.SafeLoader):
    """YAML's own loader lets a repeated key win silently; a recipe must not lose a teacher that way."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[Any] = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if key in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {key!r} is given twice", key_node.start_mark
                )
            seen.add(key)
        return super().construct_mapping(node, deep)


def shipped_recipes() -> list[str]:
    """Names of the recipes that come with the package."""
    return sorted(path.parent.name for path in SHIPPED.glob("*/recipe.yaml"))


def find_recipe(name_or_path: str) -> Path:
    """The YAML file of a shipped recipe's name, a file, or a folder with recipe.yaml. Raises RecipeError."""
    path = Path(name_or_path).expanduser()
    candidates = [path, path / "recipe.yaml", SHIPPED / name_or_path / "recipe.yaml"]
    for candidate in candidates:
        if candidate.is_file():
            return candidate.resolve()
    raise RecipeError(
        f"no recipe {name_or_path!r}: it is neither a file nor one of the shipped recipes "
        f"({', '.join(shipped_recipes())}). Set OPENTHOUGHTS_RECIPE to one of these names or to a path of a recipe.yaml."
    )


def load_recipe(name_or_path: str, variables: Mapping[str, str] = os.environ) -> Recipe:
    """Read and check a recipe.

    `${OPENTHOUGHTS_...}` in a string is replaced from `variables`; other variables are not, so that no secret
    gets into a recipe. Raises RecipeError that lists every problem of the file.
    """
    path = find_recipe(name_or_path)
    try:
        document = yaml.load(path.read_text(encoding="utf-8"), _OneKeyEach)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise RecipeError(f"{path}: not YAML that can be read: {error}") from error
    if not isinstance(document, dict):
        raise RecipeError(f"{path}: a recipe is a mapping of names to settings, got {type(document).__name__}")
    problems: list[str] = []
    document = _substituted(document, variables, "", problems)
    try:
        recipe = Recipe.model_validate(document)
    except ValidationError as error:
        problems += _described(error, document)
    if problems:
        raise RecipeError("\n".join(f"{path}: {problem}" for problem in problems))
    recipe._folder = path.parent
    return recipe


def _substituted(value: Any, variables: Mapping[str, str], where: str, problems: list[str]) -> Any:
    if isinstance(value, dict):
        return {k: _substituted(v, variables, f"{where}.{k}".lstrip("."), problems) for k, v in value.items()}
    if isinstance(value, list):
        return [_substituted(v, variables, f"{where}.{i}", problems) for i, v in enumerate(value)]
    if not isinstance(value, str):
        return value

    def replace(match: re.Match[str]) -> str:
        name = match[1]
        if not name.startswith("OPENTHOUGHTS_"):
            problems.append(f"{where}: only ${{OPENTHOUGHTS_...}} variables are replaced in a recipe, got {value!r}")
        elif name not in variables:
            problems.append(f"{where}: the environment variable {name} is not set; set it, or write the value here")
        return variables.get(name, "") if name.startswith("OPENTHOUGHTS_") else match[0]

    return _VARIABLE.sub(replace, value)


def _described(error: ValidationError, document: dict[str, Any]) -> list[str]:
    lines = []
    for problem in error.errors():
        where = _named_location(problem["loc"], document)
        message = problem["msg"].removeprefix("Value error, ")
        if problem["type"] == "extra_forbidden":
            message = "is not a setting here; check the spelling against docs/recipes.md"
        elif problem["type"] == "missing":
            message = "is missing; add it"
        for line in message.splitlines():
            value = problem.get("input")
            got = f", got {value!r}" if _worth_showing(value, problem["type"], line) else ""
            lines.append(f"{where}: {line}{got}" if where else f"{line}{got}")
    return lines


def _worth_showing(value: Any, kind: str, message: str) -> bool:
    return kind != "missing" and isinstance(value, str | int | float | bool | None) and "got" not in message


def _named_location(location: tuple[int | str, ...], document: Any) -> str:
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
        elif isinstance(value, dict) and part in (value.get("reader"), value.get("method"), value.get("kind")):
            continue
        else:
            parts.append(str(part))
    return ".".join(parts)
