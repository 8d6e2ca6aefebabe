"""Compares the results of answers with each other or with a reference."""

import re
from collections.abc import Sequence

from openthoughts_dagster.recipe.answers import Match

_SECONDS = 2
_MOST_CHARACTERS = 10_000  # of an expression: math-verify's limit of time does not end its search in a longer text
_BRACE = re.compile(r"(\\boxed\s*)?(?<!\\)[{}]")


def result_of(answer: str) -> str:
    """The result that an answer ends with: its last \\boxed{...}, or else its last line that is not blank."""
    boxed = _last_boxed(answer)
    if boxed is not None:
        return boxed.strip()
    lines = [line.strip() for line in answer.splitlines() if line.strip()]
    return lines[-1] if lines else ""


def _last_boxed(answer: str) -> str | None:
    """Return what stands in the last whole box, whatever braces it has; None where there is none."""
    opened: list[tuple[int, bool]] = []
    start, end = -1, -1
    for brace in _BRACE.finditer(answer):
        if brace[0].endswith("{"):
            opened.append((brace.end(), brace[1] is not None))
        elif opened:
            began, is_box = opened.pop()
            if is_box and began > start:
                start, end = began, brace.start()
    return None if start < 0 else answer[start:end]


def same_result(first: str, second: str, match: Match) -> bool:
    """Return whether two results are equal.

    Args:
        first: A result, as `result_of` gives it.
        second: Another result, or a reference answer.
        match: exact compares the stripped texts. math also accepts 1/2 for 0.5, by math-verify; an expression that
            math-verify cannot read within two seconds, or that is very long, is only equal to the same text.
    """
    if first == second:
        return bool(first)
    return match == "math" and max(len(first), len(second)) <= _MOST_CHARACTERS and _same_math(first, second)


def majority_of(results: Sequence[str], match: Match) -> list[bool]:
    """Return which results belong to the largest group of equal ones; none if two groups are equally large.

    Args:
        results: The results of the answers to one question; an empty one belongs to no group.
        match: How results are compared.
    """
    groups: list[list[int]] = []
    for number, result in enumerate(results):
        if not result:
            continue
        for group in groups:
            if same_result(results[group[0]], result, match):
                group.append(number)
                break
        else:
            groups.append([number])
    groups.sort(key=len, reverse=True)
    if not groups or (len(groups) > 1 and len(groups[0]) == len(groups[1])):
        return [False] * len(results)
    return [number in groups[0] for number in range(len(results))]


def _same_math(first: str, second: str) -> bool:
    from math_verify import parse, verify

    try:
        parsed = [parse(f"${text}$", parsing_timeout=_SECONDS) for text in (first, second)]
        return all(parsed) and bool(verify(*parsed, timeout_seconds=_SECONDS))
    except Exception:  # an expression may raise any error in the parser; it then does not count as equal
        return False
