"""Loads a recipe from YAML, or reports every mistake at once with file, field, value and remedy."""

import os
import re
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from openthoughts_dagster.recipe.arm_settings import find_arm_problems
from openthoughts_dagster.recipe.composing import Composed
from openthoughts_dagster.recipe.cross_references import reference_problems
from openthoughts_dagster.recipe.documents import read_yaml, shorten_path
from openthoughts_dagster.recipe.lock import LockError, read_lock
from openthoughts_dagster.recipe.lock_references import apply_lock
from openthoughts_dagster.recipe.models import Hardware
from openthoughts_dagster.recipe.places import PLACES
from openthoughts_dagster.recipe.problems import Location, describe_problems, named_location
from openthoughts_dagster.recipe.recipe import Recipe
from openthoughts_dagster.recipe.release_references import card_problems
from openthoughts_dagster.recipe.score_prompts import find_prompt_problems

SHIPPED = Path(str(files("openthoughts_dagster") / "recipes"))
_ALLOWED = re.compile(r"OPENTHOUGHTS_(DATA|FILES|LAKE|DATASETS|LANDING|VAR_\w+)")
_VARIABLE = re.compile(r"\$\{([^}]*)\}")


class RecipeError(ValueError):
    """A recipe that cannot be used. The message lists every problem, one per line."""


def shipped_recipes() -> list[str]:
    """Return the names of the recipes that come with the package."""
    return sorted(path.parent.name for path in SHIPPED.glob("*/recipe.yaml"))


def find_recipe(name_or_path: str) -> Path:
    """Find the YAML file of a recipe.

    Args:
        name_or_path: Name of a shipped recipe, a file, or a folder with a recipe.yaml.

    Returns:
        The absolute path of the file.

    Raises:
        RecipeError: There is no such recipe.
    """
    path = Path(name_or_path).expanduser()
    candidates = [path, path / "recipe.yaml", SHIPPED / name_or_path / "recipe.yaml"]
    for candidate in candidates:
        if candidate.is_file():
            return candidate.resolve()
    raise RecipeError(
        f"no recipe {name_or_path!r}: it is neither a file, nor a folder with a recipe.yaml, nor one of the shipped "
        f"recipes ({', '.join(shipped_recipes())}). Set OPENTHOUGHTS_RECIPE to one of these names or to a path."
    )


def load_recipe(
    name_or_path: str,
    variables: Mapping[str, str] = os.environ,
    shapes: Mapping[str, Hardware] | None = None,
    locked: bool = True,
) -> Recipe:
    """Read and check a recipe.

    The variables `${OPENTHOUGHTS_DATA}`, `_FILES`, `_LAKE`, `_DATASETS`, `_LANDING` and `${OPENTHOUGHTS_VAR_...}` are
    replaced in strings. Other variables are not, so that no secret gets into a recipe.

    Args:
        name_or_path: Name of a shipped recipe, a file, or a folder with a recipe.yaml.
        variables: Values of the variables; by default the process's environment. OPENTHOUGHTS_FILES is
            OPENTHOUGHTS_DATA when only the latter is given.
        shapes: Shapes of the cluster that `hardware` may name in addition to the built-in ones.
        locked: Whether the commits of the lock file beside the recipe are used, if there is one.

    Returns:
        The recipe. Its relative paths start at the folder of its file.

    Raises:
        RecipeError: The recipe does not exist or has mistakes; the message lists all of them, one per line.

    Example:
        >>> load_recipe("quickstart", {"OPENTHOUGHTS_DATA": "data"}).name
        'quickstart'
    """
    path = find_recipe(name_or_path)
    if "OPENTHOUGHTS_DATA" in variables:
        variables = {"OPENTHOUGHTS_FILES": variables["OPENTHOUGHTS_DATA"]} | dict(variables)
    parts = Composed(path, _read_document(path), _read_yaml)
    found: list[tuple[Path, str]] = [(path, problem) for problem in parts.problems]
    unset: list[tuple[Location, str]] = []
    document = _substitute_variables(parts.document, variables, parts.document, (), unset)
    try:
        recipe = Recipe.model_validate(document, context={"shapes": shapes or {}})
        recipe._folder = path.parent
        recipe._places = {name: variables[name] for name in PLACES if name in variables}
        found += [(path, problem) for problem in find_prompt_problems(recipe.scores, recipe.path)]
    except ValidationError as error:
        unset += describe_problems(error, document, Recipe)
    found += [(parts.file(location), text) for location, text in unset if not parts.is_reference(location)]
    found += [(path, problem) for problem in [*reference_problems(document), *card_problems(document, path.parent)]]
    found = found or [(path, problem) for problem in find_arm_problems(recipe)]
    if found:
        raise RecipeError("\n".join(f"{shorten_path(file)}: {problem}" for file, problem in found))
    try:
        lock = read_lock(path) if locked else None
    except LockError as error:
        raise RecipeError(str(error)) from error
    return recipe if lock is None else apply_lock(recipe, lock)


def _read_yaml(path: Path) -> Any:
    return read_yaml(path, RecipeError)


def _read_document(path: Path) -> dict[str, Any]:
    document = _read_yaml(path)
    if not isinstance(document, dict):
        found = "an empty file" if document is None else f"a {type(document).__name__}"
        raise RecipeError(
            f"{shorten_path(path)}: a recipe is a mapping of names to settings, got {found}; "
            "copy the folder of the quickstart recipe to start one"
        )
    return document


def _substitute_variables(
    value: Any, variables: Mapping[str, str], document: Any, where: Location, problems: list[tuple[Location, str]]
) -> Any:
    if isinstance(value, dict):
        return {k: _substitute_variables(v, variables, document, (*where, k), problems) for k, v in value.items()}
    if isinstance(value, list):
        return [_substitute_variables(v, variables, document, (*where, i), problems) for i, v in enumerate(value)]
    if not isinstance(value, str):
        return value

    def replace(match: re.Match[str]) -> str:
        name, place = match[1], named_location(where, document)
        if not _ALLOWED.fullmatch(name):
            problem = (
                f"{place}: only ${{OPENTHOUGHTS_...}} variables are replaced in a recipe, got {match[0]!r}: those of "
                "places (_DATA, _FILES, _LAKE, _DATASETS, _LANDING) and your own, named OPENTHOUGHTS_VAR_...; others "
                "may be secrets"
            )
            problems.append((where, problem))
        elif name not in variables:
            problem = f"{place}: the environment variable {name} is not set; set it, or write the value here"
            problems.append((where, problem))
        else:
            return variables[name]
        return match[0]

    return _VARIABLE.sub(replace, value)
