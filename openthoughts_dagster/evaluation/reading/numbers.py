"""Reads numbers as people and models write them."""

import re
from fractions import Fraction

from openthoughts_dagster.evaluation.reading.final import after_answer, last_box, remove_decoration

_PLAIN = r"[-+]?(?:\d{1,3}(?:,\d{3})+|\d+)?(?:\.\d+)?(?:[eE][-+]?\d{1,3})?"
_NUMBER = re.compile(rf"(?<![\w.]){_PLAIN}(?:/\d+(?:\.\d+)?)?%?")
_WHOLE = re.compile(rf"({_PLAIN})(?:/(\d+(?:\.\d+)?))?(%?)")
_FRACTION = re.compile(r"\\[dt]?frac\s*\{([-+\d.,]+)\}\s*\{([\d.,]+)\}")
_ALTERNATIVE = re.compile(rf"{_PLAIN}%?")
_MOST_CHARACTERS = 1000  # of a number: models that repeat a digit write thousands, which Python refuses to read


def parse_number(text: str) -> Fraction | None:
    """The number that a text is, exactly: 1,000, 3.50, 1/3, \\frac{1}{3}, 50%, 2e3; None when it is something else."""
    text = _plain_signs(remove_decoration(text)).replace(" ", "")
    found = _WHOLE.fullmatch(text) if len(text) <= _MOST_CHARACTERS else None
    if found is None or not re.search(r"\d", found[1]):
        return None
    value = Fraction(found[1].replace(",", ""))
    if found[2]:
        if not Fraction(found[2]):
            return None
        value /= Fraction(found[2])
    return value / 100 if found[3] else value


def last_number(text: str) -> str | None:
    """Return the number that a text ends with: in its box, after "answer", the text itself, or the last number in it.

    It is None if there is no number, or a choice between two.
    """
    for place in (last_box(text), after_answer(text), text):
        if place is None:
            continue
        if parse_number(place) is not None:
            return remove_decoration(place)
        plain = _plain_signs(remove_decoration(place))
        _, two, last = plain.rpartition(" or ")
        if two and _ALTERNATIVE.fullmatch(last.strip()):
            return None
        found = [match for match in _NUMBER.findall(plain) if re.search(r"\d", match)]
        if found:
            return str(found[-1])
    return None


def same_number(answer: str, gold: str) -> bool:
    """Whether two numbers are equal, exactly; a percent sign in only one of them does not count."""
    first, second = parse_number(answer), parse_number(gold)
    if first is None or second is None:
        return False
    if answer.rstrip().endswith("%") != gold.rstrip().endswith("%"):
        return first == second or first == second * 100 or first * 100 == second
    return first == second


def _plain_signs(text: str) -> str:
    text = _FRACTION.sub(r"\1/\2", text.replace("\\%", "%").replace("\\$", "").replace("$", "").replace("−", "-"))
    return re.sub(r"(?<=\d)(?:\{,\}|\\,|\\!|,\\!)(?=\d{3})", ",", text)
