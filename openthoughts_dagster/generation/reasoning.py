"""Reasoning and answer of a completion."""

from dataclasses import dataclass

_OPEN, _CLOSE = "<think>", "</think>"


@dataclass(frozen=True)
class Parts:
    """A completion taken apart. `closed` is False when reasoning began and never ended: the trace was cut off."""

    reasoning: str | None
    answer: str
    closed: bool


def split_reasoning(text: str) -> Parts:
    """Take `<think>reasoning</think>answer` apart.

    Some chat templates put `<think>` into the prompt, so a completion with only the closing tag has reasoning too.
    A text without tags is all answer; one whose tag is never closed is all reasoning and has no answer.
    """
    head, close, answer = text.partition(_CLOSE)
    if close:
        return Parts(head.strip().removeprefix(_OPEN).strip() or None, answer.strip(), True)
    if _OPEN in text:
        return Parts(text.partition(_OPEN)[2].strip(), "", False)
    return Parts(None, text.strip(), True)
