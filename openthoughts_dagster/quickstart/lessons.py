"""Lessons for the tiny models: endless streams of pairs of a question and its completion."""

import json
import random
from collections.abc import Callable, Iterator

from openthoughts_dagster.quickstart.problems import FAMILIES, SHOP_SUMS, Problem, stream

JUDGE_PROMPT = "Rate the difficulty of this question from 1 to 10.\n\n{question}"
ALL_FAMILIES = (*FAMILIES, SHOP_SUMS)

# Words of ordinary questions. Their order does not matter.
FILLERS = (
    "the",
    "problem:",
    "and",
    "+",
    "has",
    "apples",
    "with",
    "in",
    "final",
    "to",
    "many",
    "plums",
    "box",
    "roses",
    "=",
)

Lesson = tuple[str, str]


def worked_lesson(problem: Problem) -> Lesson:
    """Make a lesson with the steps inside think tags and then the answer."""
    return problem.question, f"<think>{problem.worked}</think>{problem.answer}"


def direct_lesson(problem: Problem) -> Lesson:
    """Make a lesson with the answer alone, without the steps."""
    return problem.question, problem.answer


def judge_lesson(problem: Problem) -> Lesson:
    """Make a lesson of the judge: the question in its prompt, and the difficulty as the JSON that scoring reads."""
    return JUDGE_PROMPT.format(question=problem.question), json.dumps({"difficulty": problem.difficulty})


def family_lessons(
    lesson: Callable[[Problem], Lesson], seed: int, shares: dict[str, int], held: bool = False
) -> Iterator[Lesson]:
    """Yield lessons on problems of all families, drawn in proportion to `shares`."""
    rng = random.Random(seed)
    streams = {family: stream(family, seed, held) for family in ALL_FAMILIES}
    families, weights = zip(*shares.items(), strict=True)
    while True:
        yield lesson(next(streams[rng.choices(families, weights)[0]]))


def school_lessons(seed: int) -> Iterator[Lesson]:
    """Yield what the student learns before any teacher: small sums, digits and letters, and the form of an answer.

    The student never sees a sum of two numbers of two digits. It sees all parts of such a sum, so that a few hundred
    examples of a teacher are enough to learn how the parts are put together.
    """
    rng = random.Random(f"school {seed}")
    texts = (problem.question.split('"')[3] for problem in stream("letter_counting", seed))
    exercises = (_small_sum, _small_sum, _small_difference, _columns, _columns, _digits)
    while True:
        if rng.random() < 0.1:
            yield f"Repeat this text: {(text := next(texts))}", text
        else:
            yield rng.choice(exercises)(rng)


def _small_sum(rng: random.Random) -> Lesson:
    a, b, carry = rng.randint(0, 9), rng.randint(0, 9), rng.random() < 0.5
    work = f"{a}+{b}{'+1' if carry else ''}"
    return rng.choice(
        (work, f"What is {work}?", f"Add: {work} =")
    ), f"<think>{work}={a + b + carry}</think>{a + b + carry}"


def _small_difference(rng: random.Random) -> Lesson:
    b, result, borrow = rng.randint(0, 9), rng.randint(0, 9), rng.random() < 0.5
    work = f"{b + result + borrow}-{b}{'-1' if borrow else ''}"
    return rng.choice((work, f"What is {work}?")), f"<think>{work}={result}</think>{result}"


def _columns(rng: random.Random) -> Lesson:
    """Make a lesson with two numbers somewhere in a text, whose digits are written column by column from the right."""
    a, b = rng.randint(10, 99), rng.randint(10, 99)
    before, between, after = (" ".join(rng.choices(FILLERS, k=rng.randint(low, 4))) for low in (1, 0, 0))
    question = f"{before} {a} {between} {b} {after} columns"
    return " ".join(question.split()), f"<think>{a % 10}+{b % 10} {a // 10}+{b // 10}</think>{a}+{b}"


def _digits(rng: random.Random) -> Lesson:
    digits = [str(rng.randint(0, 9)) for _ in range(rng.randint(2, 5))]
    return rng.choice(
        (
            (f"Digits {' '.join(digits)}", "".join(digits)),
            (f"Digits backward {' '.join(digits)}", "".join(reversed(digits))),
        )
    )
