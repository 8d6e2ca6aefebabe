"""Runs programs that models write, without network, files, secrets or other processes, and judges them from outside."""

from openthoughts_dagster.evaluation.confined.limits import (
    CallTask,
    CheckTask,
    ConfinementError,
    Limits,
    Outcome,
    StdinTask,
)
from openthoughts_dagster.evaluation.confined.pool import ProgramPool
from openthoughts_dagster.evaluation.confined.starting import Programs, start_programs

__all__ = [
    "CallTask",
    "CheckTask",
    "ConfinementError",
    "Limits",
    "Outcome",
    "ProgramPool",
    "Programs",
    "StdinTask",
    "start_programs",
]
