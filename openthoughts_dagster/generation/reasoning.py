"""Reasoning and answer of a completion."""

from dataclasses import dataclass

_OPEN, _CLOSE = "<think>", "</think>"


@dataclass(frozen=True)
class Parts:
    """A completion taken apart; both texts are exactly the model's, whitespace included."""

    reasoning: str | None
    answer: str


def split_reasoning(text: str) -> Parts:
    """Take `<think>reasoning</think>answer` apart.

    Some chat templates put `<think>` into the prompt, so a completion with only the closing tag has reasoning too.
    A text without tags is all answer; one whose tag is never closed is all reasoning and has an empty answer.
    """
    head, close, answer = text.partition(_CLOSE)
    if close:
        return Parts(head.partition(_OPEN)[2] if _OPEN in head else head, answer)
    if _OPEN in text:
        return Parts(text.partition(_OPEN)[2], "")
    return Parts(None, text)


def join_reasoning(reasoning: str | None, answer: str) -> str:
    """The text that a student learns: the reverse of `split_reasoning`. A trace without an answer stays open."""
    if reasoning is None:
        return answer
    return f"{_OPEN}{reasoning}{_CLOSE}{answer}" if answer.strip() else f"{_OPEN}{reasoning}"
