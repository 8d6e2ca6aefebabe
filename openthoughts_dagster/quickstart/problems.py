"""Problems that a very small language model can learn to solve in steps, with the steps written out."""

import hashlib
import random
import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from typing import Any

SHOP_SUMS = "shop_sums"

# The problems are small so that a model of half a million parameters learns them in a minute on two cores.
FAMILIES: dict[str, dict[str, Any]] = {
    "chain_sum": {"min_terms": 2, "max_terms": 2, "min_digits": 2, "max_digits": 2},
    "spell_backward": {"min_word_len": 3, "max_word_len": 5},
    "letter_counting": {"min_words": 2, "max_words": 2},
}

NAMES = ("Ana", "Ben", "Chloe", "Dev", "Emil", "Farah", "Goran", "Hana", "Ivo", "Jun", "Kofi", "Lena")
PLACES = ("market", "shop", "fair", "bakery")
# Two things that are bought together, and the word for both.
GOODS = (
    ("apples", "pears", "pieces of fruit"),
    ("plums", "figs", "pieces of fruit"),
    ("carrots", "onions", "vegetables"),
    ("tulips", "roses", "flowers"),
    ("pens", "brushes", "things to write with"),
    ("buns", "rolls", "things to eat"),
    ("novels", "comics", "books"),
)
STORIES = (
    "{name} buys {a} {first} and {b} {second}. How many {both}?",
    "{name} has {a} {first} and gets {b} {second} at the {place}. How many {both} now?",
    "A {place} sells {a} {first} to {name} and {b} {second} to {other}. How many {both} in all?",
    "There are {a} {first} in one box and {b} {second} in another. How many {both} does {name} have?",
)


@dataclass(frozen=True)
class Problem:
    """A question with its only right answer, and the shortest steps that lead to it."""

    family: str
    question: str
    worked: str
    answer: str
    difficulty: int


def procedural(family: str, size: int, seed: int) -> list[Problem]:
    """Make problems of a family of reasoning_gym.

    Args:
        family: A family in FAMILIES, which has its options.
        size: The number of problems.
        seed: The same seed gives the same problems.

    Returns:
        The problems with their steps.

    Raises:
        KeyError: The steps of this family are not known.
    """
    import reasoning_gym

    work = _WORK[family]
    # reasoning_gym draws item i from seed + i, so that neighbouring seeds would give the same problems, shifted by one.
    dataset = reasoning_gym.create_dataset(family, size=size, seed=seed * 1_000_003 + 17, **FAMILIES[family])
    problems = []
    for index in range(size):
        entry = dataset[index]
        worked, difficulty = work(entry["metadata"])
        problems.append(Problem(family, entry["question"], worked, entry["answer"], difficulty))
    return problems


def shop_sums(size: int, seed: int) -> list[Problem]:
    """Make `size` word problems whose solution is the sum of two numbers of two digits."""
    rng = random.Random(f"{SHOP_SUMS} {seed}")
    problems = []
    for _ in range(size):
        a, b = rng.randint(10, 99), rng.randint(10, 99)
        first, second, both = rng.choice(GOODS)
        name, other = rng.sample(NAMES, 2)
        place = rng.choice(PLACES)
        story = rng.choice(STORIES)
        question = story.format(name=name, other=other, place=place, a=a, b=b, first=first, second=second, both=both)
        worked, difficulty = _sum_work(a, b)
        problems.append(Problem(SHOP_SUMS, question, worked, str(a + b), difficulty + 1))
    return problems


def problems_of(family: str, size: int, seed: int) -> list[Problem]:
    """Make `size` problems of any family, shop sums included."""
    return shop_sums(size, seed) if family == SHOP_SUMS else procedural(family, size, seed)


def held_out(problem: Problem) -> bool:
    """Say whether a problem is reserved for the benchmark, so that no model of the quickstart is trained on it.

    A problem of arithmetic is reserved by its two numbers, whatever their order and the operation: otherwise 38 + 21
    in a word problem would give away 21 + 38 in the benchmark. Other problems are reserved by their text.
    """
    numbers = sorted(re.findall(r"\d+", problem.question))
    reserved_by = "+".join(numbers) if len(numbers) == 2 else problem.question
    return hashlib.blake2b(reserved_by.encode(), digest_size=2).digest()[0] % 10 == 0


def stream(family: str, seed: int, held: bool = False, chunk: int = 500) -> Iterator[Problem]:
    """Yield endless problems of a family: those for training, or with `held` those that are reserved."""
    for part in count():
        for problem in problems_of(family, chunk, seed * 10_007 + part):
            if held_out(problem) == held:
                yield problem


def _chain_work(metadata: dict[str, Any]) -> tuple[str, int]:
    first, sign, second = metadata["expression"].split()
    a, b = int(first), int(second)
    return _sum_work(a, b) if sign == "+" else _difference_work(a, b)


def _sum_work(a: int, b: int) -> tuple[str, int]:
    """Write an addition in columns from the right: 45+37 is 5+7=12 4+3+1=8. Each carry makes it harder."""
    ones = a % 10 + b % 10
    carry = ones // 10
    tens = a // 10 + b // 10 + carry
    with_carry = "+1" if carry else ""
    worked = f"{a % 10}+{b % 10}={ones} {a // 10}+{b // 10}{with_carry}={tens}"
    return worked, 2 + 2 * carry + tens // 10


def _difference_work(a: int, b: int) -> tuple[str, int]:
    """Write the larger number minus the smaller: 42-25 is 42>25 12-5=7 4-2-1=1. A negative result makes it harder."""
    high, low = max(a, b), min(a, b)
    borrow = int(high % 10 < low % 10)
    ones = high % 10 + 10 * borrow - low % 10
    tens = high // 10 - low // 10 - borrow
    with_borrow = "-1" if borrow else ""
    relation = "=" if a == b else ">" if a > b else "<"
    worked = (
        f"{a}{relation}{b} {high % 10 + 10 * borrow}-{low % 10}={ones} {high // 10}-{low // 10}{with_borrow}={tens}"
    )
    return worked, 3 + 2 * borrow + 2 * (a < b)


def _backward_work(metadata: dict[str, Any]) -> tuple[str, int]:
    """Number the letters, which are then read from the last to the first: sun is s1u2n3. More letters are harder."""
    word = metadata["word"]
    return "".join(f"{letter}{place}" for place, letter in enumerate(word, 1)), min(10, len(word) - 1)


def _letters_work(metadata: dict[str, Any]) -> tuple[str, int]:
    """Write the text with a count after every letter that is counted: n in "no onion" is n1o on2ion3."""
    target, words = metadata["target_letter"], metadata["span"]
    text, hits = "", 0
    for letter in " ".join(words):
        text += letter
        if letter.lower() == target:
            hits += 1
            text += str(hits)
    return text, min(10, 1 + len(text) // 4)


_WORK = {"chain_sum": _chain_work, "spell_backward": _backward_work, "letter_counting": _letters_work}
