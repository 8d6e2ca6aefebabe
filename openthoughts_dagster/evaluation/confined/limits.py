"""The tasks, limits and outcomes of confined programs."""

import time
from dataclasses import dataclass, field, replace
from typing import Any, Literal

Status = Literal["ok", "error", "time", "cpu", "output", "killed", "lost"]


class ConfinementError(RuntimeError):
    """This machine cannot confine programs. The message says what was tried and what to do."""


@dataclass(frozen=True)
class Limits:
    """The limits of one run of a program. There is no limit of disk, because a program cannot write files.

    Attributes:
        seconds: Wall time.
        cpu_seconds: Processor time of all its threads.
        memory_megabytes: Address space beyond that of an idle interpreter.
        output_megabytes: Size of what it prints, and of what its function returns.
        seconds_together: Wall time of all runs of one answer's program; None where only each run is limited.
    """

    seconds: float = 10.0
    cpu_seconds: int = 10
    memory_megabytes: int = 1024
    output_megabytes: int = 8
    seconds_together: float | None = None


class RunsOfProgram:
    """The runs of one answer's program, which may have a limit of time together."""

    def __init__(self) -> None:
        self._began = time.monotonic()

    def limits_now(self, limits: Limits) -> Limits:
        """Return the limits of a run that begins now."""
        if limits.seconds_together is None:
            return limits
        left = limits.seconds_together - (time.monotonic() - self._began)
        return replace(limits, seconds=max(0.0, min(limits.seconds, left)))


@dataclass(frozen=True)
class StdinTask:
    """A program that reads its standard input; the caller judges its output."""

    program: str
    stdin: str = ""


@dataclass(frozen=True)
class CallTask:
    """A function of a program, called with each of `calls` in turn until one fails.

    `function` is a name in the program, or `Class().method`. Arguments and results are plain values: numbers, texts,
    lists, tuples, sets, dictionaries and None.
    """

    program: str
    function: str
    calls: tuple[tuple[Any, ...], ...]


@dataclass(frozen=True)
class CheckTask:
    """A function of a program that a benchmark's own test code calls, as HumanEval's `check(candidate)` does.

    The test code runs in another process than the program: it sees only the values that the function returns, and
    nothing that the program does to its own process makes a test pass.
    """

    program: str
    function: str
    check: str


Task = StdinTask | CallTask | CheckTask


@dataclass(frozen=True)
class Outcome:
    """The outcome of a task.

    Attributes:
        status: "ok"; "error" (an exception or an exit code; a check that failed); "time", "cpu" or "output" for the
            limit that was reached; "killed" by another signal, such as a crash of the interpreter; "lost" where the pod
            in which it ran was lost: nothing is known of the program.
        stdout: What a `StdinTask` printed.
        values: What the calls of a `CallTask` returned, up to the first that failed.
        detail: The last lines of the error, for people. A program can write anything here.
    """

    status: Status
    stdout: str = ""
    values: tuple[Any, ...] = field(default=())
    detail: str = ""
