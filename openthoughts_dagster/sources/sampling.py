"""Seeded uniform samples of rows, in the rows' own order."""

import random
from collections.abc import Iterable
from typing import TypeVar

_Item = TypeVar("_Item")


def sample_positions(total: int, count: int, seed: str) -> list[int]:
    """`count` of `total` positions, or all of them, in order."""
    return sorted(random.Random(seed).sample(range(total), min(count, total)))


def sample_stream(items: Iterable[_Item], count: int, seed: str) -> list[_Item]:
    """`count` items, or all of them, in order; one pass, and memory for `count` (reservoir sampling, algorithm R)."""
    rng, kept = random.Random(seed), list[tuple[int, _Item]]()
    for number, item in enumerate(items):
        if number < count:
            kept.append((number, item))
        elif (place := rng.randint(0, number)) < count:
            kept[place] = (number, item)
    return [item for _, item in sorted(kept, key=lambda entry: entry[0])]
