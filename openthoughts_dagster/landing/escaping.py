"""Text from people whom nobody reviewed, made safe for where it is shown."""

import re

_MARKDOWN = re.compile(r"([\\`*_{}\[\]()<>#!|~$&])")
_ADDRESS = re.compile(r"\b([a-zA-Z][a-zA-Z0-9+.-]*):(?=//)|\bwww(?=\.)", re.IGNORECASE)


def escape_control(text: str) -> str:
    """The text for a terminal or a log: control characters, and marks that turn its direction, as escapes.

    A lone surrogate, which no table and no terminal can hold, becomes an escape as well.
    """
    return "".join(char if char.isprintable() else _escape(char) for char in text)


def escape_markdown(text: str) -> str:
    """The text for a page that renders Markdown, as Dagster's UI does: no image, link or markup in it works."""
    plain = "\n".join(escape_control(line) for line in text.split("\n"))
    return _MARKDOWN.sub(r"\\\1", break_addresses(plain))


def break_addresses(text: str) -> str:
    """The text with an invisible character (word joiner) in each bare address, so that no page makes it a link."""
    return _ADDRESS.sub(lambda found: f"{found[1]}\u2060:" if found[1] else f"{found[0]}\u2060", text)


def _escape(char: str) -> str:
    return char.encode("unicode_escape").decode("ascii")
