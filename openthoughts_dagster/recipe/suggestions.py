"""Suggests existing names for a mistyped one."""

from collections.abc import Iterable
from difflib import get_close_matches


def did_you_mean(name: str, known: Iterable[str], most: int = 1) -> str:
    """Return `did you mean 'gsm8k'?` for a mistyped name; an empty text when no known name is close.

    Args:
        name: The mistyped name.
        known: The names that exist.
        most: The largest number of suggestions; the closest name comes first.
    """
    close = get_close_matches(name, sorted(set(known)), n=most)
    return f"did you mean {' or '.join(map(repr, close))}?" if close else ""
