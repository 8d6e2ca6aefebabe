"""The prompt files of readers. A prompt with other words needs a new name, since the name identifies what was asked."""

import re
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path

from openthoughts_dagster.sources.contract import SourceError


def shipped_prompts() -> list[str]:
    """List the names of the prompts that come with the package."""
    return sorted(path.name.removesuffix(".md") for path in files(__name__).iterdir() if path.name.endswith(".md"))


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
    if name_or_path in shipped_prompts():
        text = (files(__name__) / f"{name_or_path}.md").read_text(encoding="utf-8")
    else:
        path = Path(resolve(name_or_path))
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise SourceError(
                f"{where}: the prompt file {path} cannot be read ({error}); give a path, or one of the shipped prompts "
                f"{', '.join(shipped_prompts())}"
            ) from error
    if missing := [field for field in fields if f"{{{field}}}" not in text]:
        raise SourceError(f"{where}: the prompt {name_or_path} has no {{{missing[0]}}} in it; put it where it belongs")
    return text


def filled(template: str, **values: str) -> str:
    """Fill in the fields of a prompt in one pass, so that braces inside the values stay text."""
    names = "|".join(map(re.escape, values))
    return re.sub(rf"\{{({names})\}}", lambda match: values[match[1]], template)
