"""Reads the final answer of a text: the last box, the text after the last "answer", or the text itself."""

import re

_BOX = re.compile(r"\\(?:boxed|fbox)\s*(?=[{\w])")
_ANSWER = re.compile(r"answer\b(?:\s+(?:is|was|choice|option)\b)?\s*[:=]?", re.IGNORECASE)
_WRAPPED = re.compile(r"\\(?:text|textbf|textit|mathrm|mathbf|mathit|operatorname)\s*\{([^{}]*)\}")
_BRACES = re.compile(r"(?<!\\)[{}]")
_EDGES = " \t\n*_$`\"'"


def last_box(text: str) -> str | None:
    """What stands in the last \\boxed or \\fbox, braces balanced; None when there is no whole box."""
    for found in reversed(list(_BOX.finditer(text))):
        if text[found.end()] != "{":
            return text[found.end()]
        depth = 0
        for sign in _BRACES.finditer(text, found.end()):
            depth += (sign[0] == "{") - (sign[0] == "}")
            if depth == 0:
                return text[found.end() + 1 : sign.start()]
    return None


def after_answer(text: str) -> str | None:
    """Return the rest of the line after the last "answer", "Answer:" or "the answer is"; None if it is empty."""
    for found in reversed(list(_ANSWER.finditer(text))):
        rest = text[found.end() :].lstrip(" \t*_:").partition("\n")[0]
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
    before = None
    while before != text:
        before = text
        text = _WRAPPED.sub(r"\1", text.strip(_EDGES))
        for opening, closing in ((r"\(", r"\)"), (r"\[", r"\]")):
            if text.startswith(opening) and text.endswith(closing):
                text = text[2:-2]
        if text.endswith(".") and not text.endswith(".."):
            text = text[:-1]
    return " ".join(text.split())
