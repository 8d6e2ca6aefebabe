"""Reasoning and answer of a completion."""

from dataclasses import dataclass

OPEN, CLOSE = "<think>", "</think>"


@dataclass(frozen=True)
class Parts:
    """A completion taken apart; both texts are exactly the model's, whitespace included."""

    reasoning: str | None
    answer: str


def opens_reasoning(prompt: str) -> bool:
    """Whether the chat template has put `<think>` at the end of the prompt, so that a completion starts inside."""
    return prompt.rstrip().endswith(OPEN)


def split_reasoning(text: str, prompt: str = "") -> Parts:
    """Take `<think>reasoning</think>answer` apart, the answer to the rendered `prompt`.

    What stands before the first closing tag is reasoning, whether the model or the prompt opened it. A text that is
    opened and never closed is all reasoning and has an empty answer; a text that only mentions a tag is all answer.
    """
    inside = text.lstrip().removeprefix(OPEN) if text.lstrip().startswith(OPEN) else None
    head, close, answer = text.partition(CLOSE)
    if close:
        return Parts(head if inside is None else inside.partition(CLOSE)[0], answer)
    if inside is not None:
        return Parts(inside, "")
    return Parts(text, "") if opens_reasoning(prompt) else Parts(None, text)


def join_reasoning(reasoning: str | None, answer: str) -> str:
    """The text that a student learns: the reverse of `split_reasoning`. A trace without an answer stays open."""
    if reasoning is None:
        return answer
    return f"{OPEN}{reasoning}{CLOSE}{answer}" if answer.strip() else f"{OPEN}{reasoning}"
