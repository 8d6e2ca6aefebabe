"""Reads numbers as people and models write them."""

import re
from fractions import Fraction

from openthoughts_dagster.evaluation.reading.final import after_answer, last_box, remove_decoration

_PLAIN = r"[-+]?(?=\.?\d)(?:\d{1,3}(?:,\d{3})+|\d+)?(?:\.\d+)?(?:[eE][-+]?\d{1,3})?"
_MIXED = r"[-+]?\d+ \d+/\d+"
_ANY = rf"(?:{_MIXED}|{_PLAIN}(?:/\d+(?:\.\d+)?)?)%?"
_NUMBER = re.compile(rf"(?<![\w.]){_ANY}")
# A number that begins what is said to be the answer, as in "12 (3 groups of 4)"; not the first part of a calculation.
_FIRST = re.compile(
    rf"(?:about|approximately|around|exactly|roughly)?[^\w+\-=.]*((?>{_ANY}))"
    r"(?!\s*(?:times|plus|minus|divided|multiplied|of|out|x|more|less|fewer|greater|smaller|larger|higher|lower)\b)"
    r"(?=\s*(?:[(,;:!?A-Za-z]|\.\s|\.?$))",
    re.IGNORECASE,
)
_MIXED_WHOLE = re.compile(r"([-+]?)(\d+) (\d+)/(\d+)(%?)")
_SPACED = re.compile(r"(?<![\w.,])\d{1,3}(?:[ \u00a0\u202f]\d{3})+(?![\d/])")  # 1 000 000
_BESIDE_NO_DIGIT = re.compile(r"(?<!\d) | (?!\d)")
_WHOLE = re.compile(rf"({_PLAIN})(?:/(\d+(?:\.\d+)?))?(%?)")
_FRACTION = re.compile(r"\\[dt]?frac\s*\{([-+\d.,]+)\}\s*\{([\d.,]+)\}")
_ALTERNATIVE = re.compile(rf"{_PLAIN}%?")
_MOST_CHARACTERS = 1000  # of a number: models that repeat a digit write thousands, which Python refuses to read


def parse_number(text: str) -> Fraction | None:
    """The number that a text is: 1,000, 3.50, 1/3, \\frac{1}{3}, 2 1/2, 50%, 2e3; None when it is something else."""
    text = _plain_signs(remove_decoration(text))
    if len(text) > _MOST_CHARACTERS:
        return None
    mixed = _MIXED_WHOLE.fullmatch(text)
    if mixed is not None and 0 < int(mixed[3]) < int(mixed[4]):
        value = int(mixed[2]) + Fraction(int(mixed[3]), int(mixed[4]))
        return (-value if mixed[1] == "-" else value) / (100 if mixed[5] else 1)
    found = _WHOLE.fullmatch(_BESIDE_NO_DIGIT.sub("", text))
    if found is None or not re.search(r"\d", found[1]):
        return None
    value = Fraction(found[1].replace(",", ""))
    if found[2]:
        if not Fraction(found[2]):
            return None
        value /= Fraction(found[2])
    return value / 100 if found[3] else value


def last_number(text: str) -> str | None:
    """Return the number of the last box, or the one said to be the answer, or else the last number of the text.

    In a box and after "answer" a number at the beginning counts, unless a calculation follows. It is None if there is
    no number, or a choice between two.
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
        first = _FIRST.match(plain) if place is not text and "=" not in plain else None
        if first is not None and re.search(r"\d", first[1]):
            return str(first[1])
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
    text = text.replace("\\%", "%").replace("\\$", "").replace("$", "").replace("−", "-")
    text = _FRACTION.sub(r"\1/\2", re.sub(r"(?<=\d)\s*(?=\\[dt]?frac)", " ", text))
    text = re.sub(r"(?<=\d)(?:\{,\}|\\,|\\!|,\\!)(?=\d{3})", ",", text)
    return _SPACED.sub(lambda found: ",".join(found[0].split()), text)
