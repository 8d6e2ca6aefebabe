"""Seeded uniform samples of rows, in the rows' own order."""

import heapq
import random

from openthoughts_dagster.lake import text_hash


def sample_positions(total: int, count: int, seed: str) -> list[int]:
    """`count` of `total` positions, or all of them, in order."""
    return sorted(random.Random(seed).sample(range(total), min(count, total)))


class Lottery:
    """Draws a priority for each row of a shard: the rows with the `count` lowest of all shards are the sample.

    A priority depends on the seed, the shard's name and the row's number alone, so that shards can be read apart, and
    again after a crash. A row that `count` rows of its shard come before is out at once: of a shard about
    `count` times 1 + ln(rows / count) rows are drawn, and memory holds `count` numbers.
    """

    def __init__(self, count: int, seed: str, shard: str) -> None:
        self._count, self._seed, self._shard = count, seed, shard
        self._worst: list[int] = []  # negated: a heap gives its smallest first

    def draw(self, number: int) -> int | None:
        """The priority of the shard's row `number`, a 63-bit integer; None when the row is out."""
        priority = int(text_hash(self._seed, self._shard, str(number))[:16], 16) >> 1
        if len(self._worst) < self._count:
            heapq.heappush(self._worst, -priority)
        elif priority > -self._worst[0]:
            return None
        else:
            heapq.heappushpop(self._worst, -priority)
        return priority
