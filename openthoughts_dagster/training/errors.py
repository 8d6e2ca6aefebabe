"""Errors of training, and how a process of a training reports them."""

FAILED = "training failed on process"
"""How the line of a process that failed begins; its number and the error follow."""


class TrainingError(RuntimeError):
    """The training cannot be done; the message names the student, the reason and what to change."""


class OutOfMemory(TrainingError):
    """The accelerator's memory is too small for one pass."""
