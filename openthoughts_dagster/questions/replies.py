"""What a judge's reply says, or that it cannot be read: numbers come out of JSON, and are never guessed."""

import json
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from openthoughts_dagster.generation.requests import AskModel, Prompt

_EXAMPLE_CHARACTERS = 2_000


def rating_schema(field: str, low: int, high: int) -> dict[str, Any]:
    """JSON schema of a reply with a whole number and a reason.

    The number comes first: the paper's labelers explain after they rate, and a model writes from left to right.
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


def read_rating(reply: str, field: str = "difficulty", low: int = 1, high: int = 10) -> float | None:
    """The number in a judge's JSON reply, or None when there is none from `low` to `high`.

    Servers that ignore the schema wrap the object in prose or a code fence: the outermost braces count.
    """
    try:
        value = json.loads(reply[reply.index("{") : reply.rindex("}") + 1])[field]
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if low <= value <= high else None


def ask_until_read(
    prompts: Sequence[str], ask: AskModel, schema: dict[str, Any], read: Callable[[str], float | None], attempts: int
) -> list[float | None]:
    """A number for each prompt: what cannot be read is asked again as another sample, then it is None.

    Every reply is in the ledger, so asking again later pays for nothing twice, and gets the same sequence.
    """
    values: list[float | None] = [None] * len(prompts)
    for attempt in range(attempts):
        open_ = [at for at, value in enumerate(values) if value is None]
        if not open_:
            break
        for at, [answer] in zip(open_, ask([Prompt(prompts[at], 1, attempt, schema) for at in open_]), strict=True):
            values[at] = None if answer.error else read(answer.answer)
    return values


def examples_text(questions: Iterable[str]) -> str:
    """Example questions as a judge reads them: numbered, apart from each other, long ones cut."""
    cut = (q if len(q) <= _EXAMPLE_CHARACTERS else q[:_EXAMPLE_CHARACTERS] + " …" for q in questions)
    return "\n\n".join(f"Example {number}:\n{question}" for number, question in enumerate(cut, 1))
