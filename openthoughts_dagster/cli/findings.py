"""What `openthoughts doctor` says of one thing that it looked at."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at: good, a problem, or (None) a note."""

    what: str
    good: bool | None
    says: str
