"""The prompt files of readers. A prompt with other words needs a new name, since the name identifies what was asked."""

from collections.abc import Callable
from importlib.resources import files
from pathlib import Path

from openthoughts_dagster.recipe.prompts import PromptError, check_slots, fill_slots, read_prompt_file
from openthoughts_dagster.sources.contract import SourceError


def shipped_prompts() -> list[str]:
    """List the names of the prompts that come with the package."""
    return sorted(_shipped())


def read_prompt(name_or_path: str, fields: tuple[str, ...], resolve: Callable[[str], str], where: str) -> str:
    """Read a prompt.

    Args:
        name_or_path: The name of a prompt that comes with the package, or the path of a file.
        fields: The fields that the prompt must have, such as "text" for `{text}`.
        resolve: Makes a path of the recipe absolute.
        where: The name of the setting, for errors.

    Returns:
        The text of the prompt.

    Raises:
        SourceError: The prompt cannot be read, lacks a field, or has one that nothing fills in.
    """
    shipped = _shipped()
    try:
        text = read_prompt_file(shipped.get(name_or_path) or Path(resolve(name_or_path)), shipped)
        check_slots(name_or_path, text, fields)
    except PromptError as error:
        raise SourceError(f"{where}: {error}") from error
    return text


def fill_fields(template: str, **values: str) -> str:
    """Fill in the fields of a prompt in one pass, so that braces inside the values stay text."""
    return fill_slots(template, values)


def _shipped() -> dict[str, Path]:
    return {path.stem: path for path in Path(str(files(__name__))).glob("*.md")}
