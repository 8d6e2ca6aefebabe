"""The findings of `openthoughts doctor`."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Finding:
    """The result of one check.

    Attributes:
        what: The thing that was checked.
        good: True when it is good, False when it is a problem, and None for a note.
        says: A sentence for people.
    """

    what: str
    good: bool | None
    says: str
