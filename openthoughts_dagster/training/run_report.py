"""What is known of a finished student."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from openthoughts_dagster.training.templates import OWN


@dataclass(frozen=True)
class Trained:
    """A trained student: where it is, what made it, and how its training went.

    `rows` are those that were trained on, `cut_rows` of them without their end; `dropped_rows` were too long.
    `train_tokens` counts every epoch. `seconds` and the curves, pairs of step and value, are of all attempts.
    `template` says which chat template rendered the rows. `reused` when the student was there before.
    """

    path: str
    fingerprint: str
    rows: int
    dropped_rows: int
    steps: int
    train_tokens: int
    seconds: float
    losses: list[tuple[int, float]]
    reused: bool = False
    cut_rows: int = 0
    learning_rates: list[tuple[int, float]] = field(default_factory=list)
    gradient_norms: list[tuple[int, float]] = field(default_factory=list)
    template: str = OWN

    @classmethod
    def from_report(cls, report: Mapping[str, Any], path: str, reused: bool) -> "Trained":
        """What a student's report says, also one of an older or newer version, which has other fields."""
        names = {field.name for field in fields(cls)}
        return cls(
            **({name: value for name, value in report.items() if name in names} | {"path": path, "reused": reused})
        )
