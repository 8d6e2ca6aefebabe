"""Reads the prompt files that recipes name: files beside the recipe, and those that come with the package."""

from collections.abc import Callable, Sequence
from pathlib import Path


def read_prompt_file(
    name_or_path: str, shipped: Path, fields: Sequence[str], where: str, resolve: Callable[[str], str] = str
) -> str:
    """Read a prompt file.

    Args:
        name_or_path: The path of a file, or the name of a shipped prompt. A file at that path is preferred.
        shipped: The folder of the shipped prompts, `NAME.md` each.
        fields: The fields that the prompt must have, such as "text" for `{text}`.
        where: The name of the setting, for errors.
        resolve: Makes a path of the recipe absolute.

    Returns:
        The text of the prompt.

    Raises:
        ValueError: The prompt cannot be read or lacks a field.
    """
    file, own = Path(resolve(name_or_path)), shipped / f"{Path(name_or_path).name}.md"
    try:
        text = (own if own.is_file() and not file.is_file() else file).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        names = ", ".join(sorted(path.stem for path in shipped.glob("*.md")))
        raise ValueError(
            f"{where}: the prompt file {file} cannot be read ({error}); give a path, or one of the shipped prompts "
            f"{names}"
        ) from error
    if missing := [field for field in fields if f"{{{field}}}" not in text]:
        raise ValueError(f"{where}: the prompt {name_or_path} has no {{{missing[0]}}} in it; put it where it belongs")
    return text
