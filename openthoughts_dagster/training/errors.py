"""Errors of training, and how a process of a training reports them."""

import re
from collections.abc import Iterable

FAILED = "training failed on process"
"""How the line of a process that failed begins; its number and the error follow."""


class TrainingError(RuntimeError):
    """The training cannot be done; the message names the student, the reason and what to change."""


class OutOfMemory(TrainingError):
    """The accelerator's memory is too small for one pass."""


def find_out_of_memory(lines: Iterable[str]) -> OutOfMemory | None:
    """Return the error of a process that ran out of memory, from the lines of failed processes; None if none did."""
    found = (re.match(rf"{FAILED} \d+: {OutOfMemory.__name__}: (.*)", line) for line in lines)
    return next((OutOfMemory(each[1]) for each in found if each), None)
