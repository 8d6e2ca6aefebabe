"""The error of releases."""


class ReleaseError(ValueError):
    """A release cannot be made, or made again; the message says what is wrong, where, and what to do."""
