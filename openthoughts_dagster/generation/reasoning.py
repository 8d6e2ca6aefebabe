"""Splits a completion into reasoning and answer, and joins them."""

from dataclasses import dataclass

OPEN, CLOSE = "<think>", "</think>"


@dataclass(frozen=True)
class Parts:
    """The reasoning and the answer of a completion, exactly as the model wrote them, with white space."""

    reasoning: str | None
    answer: str


def opens_reasoning(prompt: str) -> bool:
    """Return whether the prompt ends with `<think>`, so that the completion starts inside the reasoning."""
    return prompt.rstrip().endswith(OPEN)


def split_reasoning(text: str, prompt: str = "") -> Parts:
    """Split `<think>reasoning</think>answer` into its parts.

    Text before the first closing tag is reasoning, whether the model or the prompt opened it. A text whose reasoning is
    never closed is all reasoning and has an empty answer. A text that only mentions a tag is all answer.

    Args:
        text: The completion.
        prompt: The rendered prompt, which may have opened the reasoning.
    """
    inside = text.lstrip().removeprefix(OPEN) if text.lstrip().startswith(OPEN) else None
    head, close, answer = text.partition(CLOSE)
    if close:
        return Parts(head if inside is None else inside.partition(CLOSE)[0], answer)
    if inside is not None:
        return Parts(inside, "")
    return Parts(text, "") if opens_reasoning(prompt) else Parts(None, text)


def join_reasoning(reasoning: str | None, answer: str) -> str:
    """Join reasoning and answer, the reverse of `split_reasoning`. Reasoning without an answer stays open."""
    if reasoning is None:
        return answer
    return f"{OPEN}{reasoning}{CLOSE}{answer}" if answer.strip() else f"{OPEN}{reasoning}"
