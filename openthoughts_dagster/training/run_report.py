"""The report of a finished student."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from openthoughts_dagster.training.templates import OWN


@dataclass(frozen=True)
class Trained:
    """A trained student: its address, its inputs, and the course of its training.

    `rows` counts the rows that were trained on, `cut_rows` those of them without their end, and `dropped_rows` the rows
    that were too long. `train_tokens` counts every epoch. `seconds` and the curves, which are pairs of step and value,
    include all attempts. `template` names the chat template that rendered the rows, and `attention` how attention
    was computed. `answers` are mappings with question, before and after: what the student answers without and with its
    training. `reused` says that the student existed before.
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
    attention: str = ""
    answers: list[dict[str, str]] = field(default_factory=list)

    @classmethod
    def from_report(cls, report: Mapping[str, Any], path: str, reused: bool) -> "Trained":
        """Read a student's report, which may be of an older or newer version with other fields."""
        names = {field.name for field in fields(cls)}
        return cls(
            **({name: value for name, value in report.items() if name in names} | {"path": path, "reused": reused})
        )
