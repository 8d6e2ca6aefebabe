"""Reads the letters of multiple-choice answers."""

import re

from openthoughts_dagster.evaluation.reading.final import after_answer, last_box, remove_decoration

_FIRST = re.compile(r"\W*(?:(?:is|option|choice)\b\W*)*([A-Za-z])(?![A-Za-z0-9'])(.*)", re.IGNORECASE | re.DOTALL)
_ANOTHER = re.compile(r"\W*(?:\b(?:or|and|and/or)\b|[,/&])\W*(?:option\W*)?[A-Za-z](?![A-Za-z])", re.IGNORECASE)
_CHOSEN = re.compile(r"\b(?:correct|right|best)\s+(?:option|choice)\s*(?:is|:)([^\n]*)", re.IGNORECASE)
_MARKED = re.compile(r"\W*([A-Z])\)")
_LINE = re.compile(r"\W*([A-Z])\W*")


def chosen_letters(text: str) -> str | None:
    """Return the letter that a text chooses, or several letters of one box, in capitals; None if there is none.

    A box takes precedence over "Answer:", and the last of each over earlier ones. A last line that is only a letter
    counts as well, and "the correct option is". Two letters beside each other, as in "B or C", are not a choice.
    """
    box = last_box(text)
    if box is not None:
        return _boxed(remove_decoration(box))
    said = after_answer(text)
    if said is not None:
        return _said(remove_decoration(said))
    lines = [line for line in text.splitlines() if line.strip()]
    found = _LINE.fullmatch(lines[-1]) if lines else None
    if found is not None:
        return found[1]
    chosen = _CHOSEN.findall(text)
    if chosen and (letter := _said(remove_decoration(chosen[-1]))) is not None:
        return letter
    marked = _MARKED.match(lines[0]) if len(lines) == 1 else None  # "B) 42", which is all that the model says
    if marked is not None:
        return marked[1]
    alone = remove_decoration(text)
    return alone.upper() if len(alone) == 1 and alone.isalpha() else None


def _boxed(text: str) -> str | None:
    letters = text.strip(" ()[].:")
    if re.fullmatch(r"[A-Z]{1,6}", letters) or re.fullmatch(r"[A-Za-z](?:\s*(?:,|&|\band\b)\s*[A-Za-z])*", letters):
        return "".join(sorted(re.findall(r"[A-Z]", re.sub(r"\band\b", "", letters).upper())))
    return _said(text)


def _said(text: str) -> str | None:
    found = _FIRST.match(text)
    if found is None or _ANOTHER.match(found[2]):
        return None
    letter, rest = found[1], found[2]
    # "a good approximation" and "I cannot say" begin with words of one letter.
    if letter.upper() in "AI" and re.match(r"\s+[a-z]", rest):
        return None
    if letter.islower() and re.match(r"\s+\w", rest):
        return None
    return letter.upper()
