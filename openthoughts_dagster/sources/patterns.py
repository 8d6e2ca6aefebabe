"""Searching for the regular expressions of recipes and manifests, in bounded time."""

from functools import lru_cache
from typing import Any

LONGEST_SEARCH = 2.0  # seconds in one text


class PatternTimeout(Exception):
    """A search took too long, since the expression backtracks too much in this text."""


def search(pattern: str, text: str, dot_matches_lines: bool = False) -> Any:
    """Find the first match of a regular expression in a text.

    Args:
        pattern: The regular expression.
        text: The text.
        dot_matches_lines: Whether a dot matches line ends too.

    Returns:
        The match, or None.

    Raises:
        PatternTimeout: The search took more than two seconds.
    """
    try:
        return _compiled(pattern, dot_matches_lines).search(text, timeout=LONGEST_SEARCH)
    except TimeoutError as error:
        raise PatternTimeout(f"{pattern!r} was looked for in one text for more than {LONGEST_SEARCH:g} s") from error


@lru_cache(maxsize=100)
def _compiled(pattern: str, dot_matches_lines: bool) -> Any:
    import regex

    return regex.compile(pattern, regex.VERSION0 | (regex.DOTALL if dot_matches_lines else 0))
