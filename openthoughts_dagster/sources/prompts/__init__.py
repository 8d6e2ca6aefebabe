"""The prompt files of readers. A prompt with other words needs a new name, since the name identifies what was asked."""

import re
from collections.abc import Callable
from pathlib import Path

from openthoughts_dagster.recipe.prompt_files import read_prompt_file
from openthoughts_dagster.sources.contract import SourceError


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
        SourceError: The prompt cannot be read or lacks a field.
    """
    try:
        return read_prompt_file(name_or_path, Path(__file__).parent, fields, where, resolve)
    except ValueError as error:
        raise SourceError(str(error)) from error


def filled(template: str, **values: str) -> str:
    """Fill in the fields of a prompt in one pass, so that braces inside the values stay text."""
    names = "|".join(map(re.escape, values))
    return re.sub(rf"\{{({names})\}}", lambda match: values[match[1]], template)
