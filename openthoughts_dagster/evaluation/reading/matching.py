"""The ways to compare an answer with its reference, by name."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from openthoughts_dagster.evaluation.reading.choices import chosen_letters
from openthoughts_dagster.evaluation.reading.final import final_answer, last_box
from openthoughts_dagster.evaluation.reading.math_answers import compare_math
from openthoughts_dagster.evaluation.reading.numbers import last_number, parse_number, same_number


@dataclass(frozen=True)
class Verdict:
    """Whether an answer is right, and the text that was read as the answer; None if there was none.

    `credit` is the score of a partly right answer. Without it a right answer scores 1 and a wrong one 0. `lost` says
    why nothing is known of the answer, such as that the pod of its program was lost: it counts as a failed sample.
    """

    right: bool
    extracted: str | None
    credit: float | None = None
    lost: str | None = None

    @property
    def score(self) -> float:
        """The score of the answer, from 0 to 1."""
        return float(self.right) if self.credit is None else self.credit


Pairs = Sequence[tuple[str, str]]
"""References, and texts of a model without its reasoning."""


def judge_all(match: str, pairs: Pairs) -> list[Verdict]:
    """Compare answers with their references.

    Args:
        match: A name of MATCHES.
        pairs: References, and texts of a model without its reasoning.

    Returns:
        One verdict for each pair, in order.

    Example:
        >>> judge_all("number", [("27", "The answer is 27.0.")])
        [Verdict(right=True, extracted='27.0')]
    """
    return MATCHES[match](pairs)


def _exact(pairs: Pairs) -> list[Verdict]:
    answers = [final_answer(text) for _, text in pairs]
    return [
        Verdict(bool(answer) and _folded(answer) == _folded(final_answer(gold)), answer or None)
        for answer, (gold, _) in zip(answers, pairs, strict=True)
    ]


def _number(pairs: Pairs) -> list[Verdict]:
    answers = [last_number(text) for _, text in pairs]
    return [
        Verdict(answer is not None and same_number(answer, gold), answer)
        for answer, (gold, _) in zip(answers, pairs, strict=True)
    ]


def _choice(pairs: Pairs) -> list[Verdict]:
    answers = [chosen_letters(text) for _, text in pairs]
    return [
        Verdict(answer is not None and answer == "".join(sorted(gold.strip(" ().").upper())), answer)
        for answer, (gold, _) in zip(answers, pairs, strict=True)
    ]


def _math(pairs: Pairs) -> list[Verdict]:
    # Equal numbers need no algebra, and are most of the right answers.
    boxes = [last_box(text) for _, text in pairs]
    verdicts = {
        place: Verdict(box is not None and same_number(box, gold), box)
        for place, (box, (gold, _)) in enumerate(zip(boxes, pairs, strict=True))
    }
    open_pairs = {place: pair for place, pair in enumerate(pairs) if not verdicts[place].right and pair[1].strip()}
    compared = compare_math(list(open_pairs.values())) if open_pairs else []
    verdicts |= {place: Verdict(*found) for place, found in zip(open_pairs, compared, strict=True)}
    return [verdicts[place] for place in range(len(pairs))]


def _auto(pairs: Pairs) -> list[Verdict]:
    """Compare by the type of the reference: a number, letters, or a text."""
    verdicts: list[Verdict] = []
    for pair in pairs:
        gold = pair[0].strip()
        if parse_number(gold) is not None:
            verdicts += _number([pair])
        elif re.fullmatch(r"[A-Z]|[A-J]{2,4}", gold) and list(gold) == sorted(set(gold)):
            chosen = _choice([pair])
            verdicts += chosen if chosen[0].right else _exact([pair])
        else:
            verdicts += _exact([pair])
    return verdicts


def _folded(text: str) -> str:
    return " ".join(text.split()).casefold()


MATCHES: Mapping[str, Callable[[Pairs], list[Verdict]]] = {
    "auto": _auto,
    "exact": _exact,
    "number": _number,
    "math": _math,
    "choice": _choice,
}
"""How answers are compared, by the name in a recipe."""
