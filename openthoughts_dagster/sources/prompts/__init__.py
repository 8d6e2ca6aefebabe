"""Prompt files of readers. A change of words is a new version: the name is part of what was asked."""

import re
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path

from openthoughts_dagster.sources.contract import SourceError


def shipped_prompts() -> list[str]:
    """Names of the prompts that come with the package."""
    return sorted(path.name.removesuffix(".md") for path in files(__name__).iterdir() if path.name.endswith(".md"))


def read_prompt(name_or_path: str, fields: tuple[str, ...], resolve: Callable[[str], str], where: str) -> str:
    """A prompt by shipped name or path. Raises SourceError when it is absent or has no place for a field."""
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
    """A prompt with its fields filled in, in one pass: braces inside the values stay text."""
    names = "|".join(map(re.escape, values))
    return re.sub(rf"\{{({names})\}}", lambda match: values[match[1]], template)
