"""Reads the ratings in judges' replies; a rating comes from JSON and is never guessed."""

from collections.abc import Iterable
from typing import Any

_EXAMPLE_CHARACTERS = 2_000


def rating_schema(field: str, low: int, high: int) -> dict[str, Any]:
    """Return the JSON schema of a reply with a whole number and a reason.

    The number comes first, because the paper's labelers rate first and then explain.
    """
    return {
        "type": "object",
        "properties": {
            field: {"type": "integer", "minimum": low, "maximum": high},
            "reasoning": {"type": "string"},
        },
        "required": [field],
        "additionalProperties": False,
    }


def rating_in(value: Any, field: str, low: int, high: int) -> float | None:
    """Return the number of a reply's JSON value; None if there is none from `low` to `high`."""
    number = value.get(field) if isinstance(value, dict) else None
    if isinstance(number, bool) or not isinstance(number, int | float):
        return None
    return float(number) if low <= number <= high else None


def examples_text(questions: Iterable[str]) -> str:
    """Format example questions for a judge: numbered and separated; long ones are cut."""
    cut = (q if len(q) <= _EXAMPLE_CHARACTERS else q[:_EXAMPLE_CHARACTERS] + " …" for q in questions)
    return "\n\n".join(f"Example {number}:\n{question}" for number, question in enumerate(cut, 1))
