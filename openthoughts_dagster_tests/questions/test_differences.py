"""Similar texts are duplicates when formatting or a misspelling is all that differs."""

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from openthoughts_dagster.questions.matching import Texts, find_duplicates
from openthoughts_dagster.recipe import Dedup

CASES = [json.loads(line) for line in (Path(__file__).parent / "data" / "fuzzy_pairs.jsonl").read_text().splitlines()]
RULE = Dedup(method="fuzzy", similarity=80)
LONG = "Let $f$ be a real function on the whole line and let $g$ be its inverse where it exists. "


def _repeats(*texts: str) -> list[int]:
    return list(find_duplicates(Texts.of(pl.Series(texts)), np.arange(len(texts)), RULE).positions)


@pytest.mark.parametrize("case", CASES, ids=[case["theme"] for case in CASES])
def test_a_pair_of_similar_problems_is_judged_by_its_difference(case: dict[str, str]) -> None:
    assert _repeats(case["a"], case["b"]) == ([1] if case["duplicates"] else [])
    assert _repeats(case["b"], case["a"]) == ([1] if case["duplicates"] else [])


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (r"Compute $3\times4$.", "Compute $3 × 4$."),
        (r"Solve \(x \leq 4\).", "Solve $x ≤ 4$."),
        (r"Evaluate $\dfrac 1 2$ now", r"Evaluate $\frac{1}{2}$ now"),
        (r"Find $x^{2}$ for all x", r"Find $x^2$ for all x"),
        ("Say “yes” or don’t.", 'say "yes" or don\'t'),
        ("Do **not** move.", "Do not move."),
        ("Everyone likes it", "Every one likes it"),
        ("Add .5 to it", "Add 0.5 to it"),
        ("Read p.5 of it", "Read p. 5 of it"),
        ("Где треугольник", "Где треуголник"),
        ("Which triangles are similar?", "Which trianlges are similar?"),
    ],
)
def test_other_typography_and_typing_errors_are_duplicates(one: str, other: str) -> None:
    assert _repeats(LONG + one, LONG + other) == [1]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (r"Find $x^{2y}$ for all x", r"Find $x^2y$ for all x"),
        ("Find $٣$ of them", "Find $٤$ of them"),
        ("Is it rational or not", "Is it irrational or not"),
        ("Take sixty of them", "Take sixteen of them"),
        ("There are seven left", "There are even left"),
        ("Let it be so: a[1:]", "Let it be so: a[1]"),
        ("Find all primes with p", "Find all with p"),
        ("Compute the sum of 1 2", "Compute the sum of 12"),
        ("Use $N$ here", "Use $n$ here"),
        ("Add .5 to it", "Add 5 to it"),
        ("Take -.25 here", "Take -25 here"),
        ("Let αβ be one", "Let αγ be one"),
        ("Скажи да сразу", "Скажи на сразу"),
    ],
)
def test_another_number_word_or_sign_makes_another_problem(one: str, other: str) -> None:
    assert _repeats(LONG + one, LONG + other) == []


def test_a_word_that_the_corpus_knows_is_no_misspelling_of_another_one() -> None:
    one, other = LONG + "Is the series convergent at prime points?", LONG + "Is the series convergent at price points?"
    known = ["The price of eggs rose again in the market town.", "Every prime above two is odd, said the teacher then."]
    more = ["Ask for a price before buying tea.", "No prime divides both of these numbers at once."]
    assert _repeats(one, other) == [1]
    assert _repeats(one, other, *known, *more) == []


def test_the_papers_rule_is_the_ratio_alone() -> None:
    texts = Texts.of(pl.Series([LONG + "Find f(13).", LONG + "Find f(17)."]))
    rule = RULE.model_copy(update={"same_numbers": False})
    assert list(find_duplicates(texts, np.arange(2), rule).positions) == [1]
