"""Reads the final answer of a text: the last box, the text after the last "answer", or the text itself."""

import re
from collections.abc import Iterator

_BOX = re.compile(r"\\(?:boxed|fbox)\s*(?=[{\w])")
_SAID = re.compile(
    r"answer(?:\s+(?:choice|option))?(?:[*_ \t]*[:=]|\s+(?:is|was|equals|(?:must|should|would) be)\b)\s*[:=]?",
    re.IGNORECASE,
)
_TAG = re.compile(r"</?answer>", re.IGNORECASE)
_ANSWER = re.compile(r"answer\b(?:\s+(?:is|was|choice|option)\b)?\s*[:=]?", re.IGNORECASE)
_WRAPPED = re.compile(r"\\(?:text|textbf|textit|mathrm|mathbf|mathit|operatorname)\s*\{([^{}]*)\}")
_BRACES = re.compile(r"(?<!\\)[{}]")
_EDGES = " \t\n*_$`\"'"
_MOST_LAYERS = 20  # of decoration around an answer; texts with thousands come from models that repeat themselves


def last_box(text: str) -> str | None:
    """What stands in the last \\boxed or \\fbox, braces balanced; None when there is no whole box."""
    return next((text[start:end] for start, end in _boxes(text)), None)


def last_boxes_of_a_line(text: str) -> list[str]:
    """Return what stands in the whole boxes of the last line with a box, in their order."""
    places = list(_boxes(text))
    line = text.rfind("\n", 0, places[0][0]) if places else 0
    return [text[start:end] for start, end in reversed(places) if start > line]


def _boxes(text: str) -> Iterator[tuple[int, int]]:
    """Yield where the content of whole boxes begins and ends, from the last to the first."""
    boxes = [found.end() for found in _BOX.finditer(text)]
    closed: dict[int, int] = {}  # in one pass: a model that repeats itself opens thousands of boxes
    opened: list[int] = []
    for sign in _BRACES.finditer(text, boxes[0] if boxes else len(text)):
        if sign[0] == "{":
            opened.append(sign.start())
        elif opened:
            closed[opened.pop()] = sign.start()
    for start in reversed(boxes):
        if text[start] != "{":
            yield start, start + 1
        elif start in closed:
            yield start + 1, closed[start]


def after_answer(text: str) -> str | None:
    """Return the rest of the line after the last "Answer:" or "the answer is", or else after the last "answer".

    What stands between the last tags <answer> and </answer> takes precedence. None if there is nothing.
    """
    parts = _TAG.split(text) if _TAG.search(text) else []
    if len(parts) > 2 and remove_decoration(parts[-2]):
        return parts[-2].strip()
    for pattern, skipped in ((_SAID, " \t\n*_:"), (_ANSWER, " \t*_:")):
        for found in reversed(list(pattern.finditer(text))):
            rest = text[found.end() :].lstrip(skipped).partition("\n")[0]
            if remove_decoration(rest):
                return rest
    return None


def final_answer(text: str) -> str:
    """Return the answer that a text ends with, without decoration; an empty text if there is none.

    A box takes precedence over the word "answer", and that over the whole text.
    """
    for found in (last_box(text), after_answer(text)):
        if found is not None and remove_decoration(found):
            return remove_decoration(found)
    return remove_decoration(text)


def remove_decoration(text: str) -> str:
    """Without emphasis, dollar signs, wrappers such as \\text{}, brackets of LaTeX and a full stop at the end."""
    for _ in range(_MOST_LAYERS):
        before = text
        text = _WRAPPED.sub(r"\1", text.strip(_EDGES))
        for opening, closing in ((r"\(", r"\)"), (r"\[", r"\]")):
            if text.startswith(opening) and text.endswith(closing):
                text = text[2:-2]
        if text.endswith(".") and not text.endswith(".."):
            text = text[:-1]
        if text == before:
            break
    return " ".join(text.split())
