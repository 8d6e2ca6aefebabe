"""Escapes for unreviewed text, so that it is safe on a terminal, in a log or on a page."""

import re

_MARKDOWN = re.compile(r"([\\`*_{}\[\]()<>#!|~$&])")
_ADDRESS = re.compile(r"\b([a-zA-Z][a-zA-Z0-9+.-]*):(?=//)|\bwww(?=\.)", re.IGNORECASE)


def escape_control(text: str) -> str:
    """Escape a text for a terminal or a log: control characters, marks that change its direction, lone surrogates."""
    return "".join(char if char.isprintable() else _escape(char) for char in text)


def escape_markdown(text: str) -> str:
    """Escape a text for a page that renders Markdown, such as Dagster's UI: images, links and markup stay text."""
    plain = "\n".join(escape_control(line) for line in text.split("\n"))
    return _MARKDOWN.sub(r"\\\1", break_addresses(plain))


def break_addresses(text: str) -> str:
    """Put an invisible character (a word joiner) into each bare address, so that no page makes a link of it."""
    return _ADDRESS.sub(lambda found: f"{found[1]}\u2060:" if found[1] else f"{found[0]}\u2060", text)


def _escape(char: str) -> str:
    return char.encode("unicode_escape").decode("ascii")
