"""What a person may have meant by a name that does not exist."""

from collections.abc import Iterable
from difflib import get_close_matches


def did_you_mean(name: str, known: Iterable[str], most: int = 1) -> str:
    """`did you mean 'gsm8k'?` for a mistyped name; empty where no known name is close.

    Args:
        name: What was written.
        known: The names that exist.
        most: How many names to suggest at most, the closest first.
    """
    close = get_close_matches(name, sorted(set(known)), n=most)
    return f"did you mean {' or '.join(map(repr, close))}?" if close else ""
