"""Regular expressions of recipes and manifests, looked for in texts of any source, in bounded time."""

from functools import lru_cache
from typing import Any

LONGEST_SEARCH = 2.0  # seconds in one text


class PatternTimeout(Exception):
    """A search that took too long: the expression backtracks without end in this text."""


def search(pattern: str, text: str, dot_matches_lines: bool = False) -> Any:
    """The first match of a regular expression, or None. Raises PatternTimeout after two seconds in one text."""
    try:
        return _compiled(pattern, dot_matches_lines).search(text, timeout=LONGEST_SEARCH)
    except TimeoutError as error:
        raise PatternTimeout(f"{pattern!r} was looked for in one text for more than {LONGEST_SEARCH:g} s") from error


@lru_cache(maxsize=100)
def _compiled(pattern: str, dot_matches_lines: bool) -> Any:
    import regex

    return regex.compile(pattern, regex.VERSION0 | (regex.DOTALL if dot_matches_lines else 0))
