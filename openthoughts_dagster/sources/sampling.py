"""Seeded uniform samples of rows. The rows of a sample keep their order."""

import heapq
import random

from openthoughts_dagster.lake import text_hash


def sample_positions(total: int, count: int, seed: str) -> list[int]:
    """Draw `count` of the positions 0 to `total` - 1, or all of them when there are fewer. The result is sorted."""
    return sorted(random.Random(seed).sample(range(total), min(count, total)))


class Lottery:
    """Draws a priority for each row of a shard. The sample is the `count` rows with the lowest ones, over all shards.

    A priority depends only on the seed, the shard's name and the row's number. So shards can be read separately, and
    again after a crash. A row is left out at once when `count` rows of its shard have lower priorities. So about
    `count` times 1 + ln(rows / count) rows of a shard get a priority, and memory holds `count` numbers.
    """

    def __init__(self, count: int, seed: str, shard: str) -> None:
        self._count, self._seed, self._shard = count, seed, shard
        self._worst: list[int] = []  # negated, since a heap returns its smallest entry first

    def draw(self, number: int) -> int | None:
        """Return the priority of the shard's row `number`, a 63-bit integer, or None when the row is left out."""
        priority = int(text_hash(self._seed, self._shard, str(number))[:16], 16) >> 1
        if len(self._worst) < self._count:
            heapq.heappush(self._worst, -priority)
        elif priority > -self._worst[0]:
            return None
        else:
            heapq.heappushpop(self._worst, -priority)
        return priority
