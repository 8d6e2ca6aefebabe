"""The slots of prompt files, such as {question}: which a prompt needs, which it may have, and filling them in."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from openthoughts_dagster.recipe.suggestions import did_you_mean

# Braces after a letter, a backslash or another brace are LaTeX or code: \frac{a}{b}, x_{i}, {{name}}.
_SLOT = re.compile(r"(?<![\w\\}\]^{])\{([A-Za-z]\w*\??)\}(?!\})")


class PromptError(ValueError):
    """A prompt file cannot be used. The message says which, why, and what to change."""


class PromptFileError(PromptError):
    """A prompt file cannot be read."""


def check_slots(name: str, text: str, needed: Sequence[str], optional: Sequence[str] = ()) -> None:
    """Check that a prompt has the slots that it needs, and none that nothing would fill in.

    Args:
        name: The prompt's name or path, for the error.
        text: The prompt.
        needed: Names of slots that have to be in it, such as "question" for `{question}`.
        optional: Names of slots that may be in it.

    Raises:
        PromptError: A slot is missing, or an unknown one would reach the model as it stands.
    """
    if missing := [slot for slot in needed if f"{{{slot}}}" not in text]:
        raise PromptError(f"the prompt {name} has no {{{missing[0]}}} in it; put it where it belongs")
    known = [*needed, *optional]
    for slot in dict.fromkeys(_SLOT.findall(text)):
        if slot not in known:
            there = ", ".join(f"{{{each}}}" for each in known)
            hint = f"{did_you_mean(slot, known)} " if did_you_mean(slot, known) else ""
            raise PromptError(
                f"the prompt {name} has {{{slot}}} in it, which nothing fills in; {hint}slots are {there}. Where the "
                "braces are text, put a space inside them"
            )


def read_prompt_file(path: Path, shipped: Mapping[str, Path]) -> str:
    """Read a prompt file, or the shipped prompt of the file's name when there is no such file.

    Raises:
        PromptFileError: Neither can be read.
    """
    file = path if path.is_file() or path.name not in shipped else shipped[path.name]
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        says = getattr(error, "strerror", None) or str(error)
        raise PromptFileError(
            f"the prompt file {path} cannot be read: {says}; correct the path, or use one of the shipped prompts "
            f"{', '.join(sorted(shipped))}"
        ) from error


def fill_slots(template: str, values: Mapping[str, str]) -> str:
    """Fill in the slots of a prompt in one pass, so that braces inside the values stay text."""
    names = "|".join(map(re.escape, values))
    return re.sub(rf"\{{({names})\}}", lambda match: values[match[1]], template)
