"""What training raises, and how a process of one says it."""

FAILED = "training failed on process"
"""How the line of a process that failed begins; its number and the error follow."""


class TrainingError(RuntimeError):
    """A training that cannot be done: says for what, why, and what to change."""


class OutOfMemory(TrainingError):
    """An accelerator whose memory is too small for one pass."""
