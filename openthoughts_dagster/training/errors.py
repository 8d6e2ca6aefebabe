"""What training raises."""


class TrainingError(RuntimeError):
    """A training that cannot be done: says for what, why, and what to change."""
