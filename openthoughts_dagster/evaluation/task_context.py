"""What a benchmark's tasks are made with, and the random numbers that lighteval's prompts draw."""

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from openthoughts_dagster.evaluation.confined import Programs

_SEED = 1234  # lighteval's own, with which it seeds `random` before it formats the first task


@dataclass(frozen=True)
class TaskContext:
    """The context in which a kind of benchmark makes its tasks.

    Attributes:
        resolve: Makes a relative path of the recipe absolute.
        programs: Gives the pool that runs programs in confinement, started on first use. Raises ConfinementError.
    """

    resolve: Callable[[str], str]
    programs: Callable[[], Programs]


@contextmanager
def seeded(seed: int = _SEED) -> Iterator[None]:
    """Seed `random` and numpy's generator as lighteval does, and restore them after the block."""
    import numpy as np

    python_state, numpy_state = random.getstate(), np.random.get_state()
    random.seed(seed)
    np.random.seed(seed)
    try:
        yield
    finally:
        random.setstate(python_state)
        np.random.set_state(numpy_state)
