"""A pool of confined interpreters that run programs in parallel."""

import contextlib
import json
import os
import queue
import select
import shutil
import struct
import subprocess
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

from openthoughts_dagster.evaluation.confined.limits import (
    CallTask,
    CheckTask,
    ConfinementError,
    Limits,
    Outcome,
    StdinTask,
    Task,
)
from openthoughts_dagster.evaluation.confined.standalone import standalone_code
from openthoughts_dagster.evaluation.confined.values import dump_value, load_value
from openthoughts_dagster.evaluation.confined.ways import (
    NOBODY,
    Interpreter,
    Way,
    command,
    own_interpreter,
    possible_ways,
    readable_by_nobody,
)

Confinement = Literal["auto", "bubblewrap", "landlock", "sandboxed", "none"]

_PACKAGE = __name__.rpartition(".")[0]
_START_SECONDS, _GRACE_SECONDS = 20.0, 10.0
_MOST_THREADS = 64  # processes of programs, in addition to those that their user runs already
_INSIDE = ("kernel", "values", "restrictions", "child", "watching", "runner")  # in the order of their imports
# What a program can do without Landlock. In a pod it finds the system's files there, and other programs' inputs.
_FILES_OF_A_SANDBOX = ("reads /etc/passwd", "lists /etc", "reads processes")
_LOST = "the confined interpreter ended"


class ProgramPool:
    """Runs untrusted programs in confinement, several at once.

    Args:
        confinement: "auto" takes the best way that works here: bubblewrap, then Landlock with seccomp. "none" runs
            programs with this process's rights, with limits only of time, memory and output. "sandboxed" is "auto"
            inside a pod whose kernel is its own: where neither works, seccomp alone, and no `CheckTask`s.
        workers: Programs at once; by default the number of processors that this process may use.
        interpreter: The Python that runs the programs; by default that of this process.

    Attributes:
        way: The way in which programs are confined, in words, for the record.
        workers: Programs at once.

    Raises:
        ConfinementError: No way works on this machine; the message has the reasons.

    Example:
        >>> with ProgramPool() as pool:
        ...     (outcome,) = pool.run([StdinTask("print(int(input()) + 1)", "41")], Limits())
        >>> outcome.stdout
        '42\\n'
    """

    def __init__(
        self, confinement: Confinement = "auto", workers: int | None = None, interpreter: Interpreter | None = None
    ) -> None:
        self._python = interpreter or own_interpreter()
        self._idle: queue.SimpleQueue[_Interpreter] = queue.SimpleQueue()
        self.workers = workers or len(os.sched_getaffinity(0))
        self._lock, self._started = threading.Lock(), 0
        self._way, first = self._best_way(confinement)
        self.way = first.words
        self._idle.put(first)
        self._started = 1

    def run(self, tasks: Sequence[Task], limits: Limits) -> list[Outcome]:
        """Run tasks, and return their outcomes in order.

        Args:
            tasks: The tasks; each runs in its own process, which has seen no other task.
            limits: The limits of each task.

        Raises:
            ConfinementError: Interpreters end before they have run anything. This is never the fault of a program.
        """
        return list(self.each(tasks, limits))

    def each(self, tasks: Sequence[Task], limits: Limits) -> Iterator[Outcome]:
        """Do what `run` does, and yield each outcome in order while the other tasks go on."""
        with ThreadPoolExecutor(self.workers) as threads:
            yield from threads.map(lambda task: self.run_one(task, limits), tasks)

    def close(self) -> None:
        """End the interpreters."""
        while self._started:
            self._idle.get().close()
            self._started -= 1

    def __enter__(self) -> "ProgramPool":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _best_way(self, confinement: Confinement) -> tuple[Way, "_Interpreter"]:
        ways: list[Way] = (
            [*possible_ways(), "seccomp"]
            if confinement == "sandboxed"
            else possible_ways()
            if confinement == "auto"
            else [confinement]
        )
        reasons = (
            [] if "bubblewrap" in ways or confinement != "auto" else ["bubblewrap: the command bwrap is not there"]
        )
        for way in ways:
            try:
                return way, _Interpreter(way, self._python)
            except ConfinementError as error:
                reasons.append(f"{way}: {error}")
        raise ConfinementError(
            "programs that a model wrote cannot be confined on this machine, so they are not run. "
            + "; ".join(reasons)
            + ". Install bubblewrap where user namespaces are allowed, or use a kernel with Landlock (5.13 or newer, "
            "not disabled by lsm=); `evaluation.confinement: none` in the recipe runs them unconfined"
        )

    def run_one(self, task: Task, limits: Limits) -> Outcome:
        """Run one task when an interpreter is free, and return its outcome. Raises ConfinementError as `run` does."""
        for attempt in range(3):
            interpreter = self._take()
            try:
                return interpreter.run(task, limits)
            except ConfinementError:
                interpreter.close()
                interpreter = _Interpreter(self._way, self._python)
                if attempt == 2:
                    raise
            finally:
                self._idle.put(interpreter)
        raise AssertionError("the last attempt returns or raises")

    def _take(self) -> "_Interpreter":
        with self._lock:
            if self._idle.empty() and self._started < self.workers:
                self._idle.put(_Interpreter(self._way, self._python))
                self._started += 1
        return self._idle.get()


class _Interpreter:
    """One confined interpreter, and the messages to and from it. Raises ConfinementError if it does not work."""

    def __init__(self, way: Way, python: Interpreter) -> None:
        options = {
            "system_calls": way != "none",
            "files": way not in ("seccomp", "none") and _landlock(),
            "readable": list(python.readable),
            "packages": list(python.packages),
            "user": NOBODY if way == "landlock" and readable_by_nobody((*python.readable, python.executable)) else None,
            "processes": _threads_of(os.geteuid() if python.user is None else python.user) + _MOST_THREADS,
        }
        if way == "landlock" and not options["files"]:
            raise ConfinementError("the kernel has no Landlock, or refuses it to this process")
        if way == "bubblewrap" and not shutil.which("bwrap"):
            raise ConfinementError("the command bwrap is not there")
        identity: dict[str, Any] = {}
        if python.user is not None and os.geteuid() == 0:
            identity = {"user": python.user, "group": python.user, "extra_groups": []}
        self._process = subprocess.Popen(
            command(way, python, standalone_code([f"{_PACKAGE}.{name}" for name in _INSIDE])),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd="/",
            env={"PATH": os.environ.get("PATH", os.defpath), "LANG": "C.UTF-8", "OMP_NUM_THREADS": "1"},
            start_new_session=True,
            **identity,
        )
        try:
            self._send(options)
            hello = self._receive(time.monotonic() + _START_SECONDS)
        except ConfinementError as error:
            self.close()
            raise ConfinementError(self._reason() or str(error)) from error
        escapes = [each for each in hello["escapes"] if way != "seccomp" or each not in _FILES_OF_A_SANDBOX]
        if escapes:
            self.close()
            raise ConfinementError(f"a program there still {', '.join(escapes)}")
        self._way = way
        parts: list[str] = [way] if way not in ("landlock", "seccomp") else []
        parts += ["Landlock"] if options["files"] else []
        self.words = " + ".join([*parts, *(["seccomp"] if options["system_calls"] else []), "limits"])

    def run(self, task: Task, limits: Limits) -> Outcome:
        """Run one task. The interpreter enforces the limit of time; this process ends it if it does not."""
        wanted = {
            "seconds": limits.seconds,
            "cpu_seconds": limits.cpu_seconds,
            "memory_megabytes": limits.memory_megabytes,
            "output_megabytes": limits.output_megabytes,
        }
        first: dict[str, Any] = {"program": task.program, "limits": wanted}
        if isinstance(task, StdinTask):
            self._send(first | {"kind": "stdin", "stdin": task.stdin})
        elif isinstance(task, CallTask):
            self._send(first | {"kind": "call"})
            self._send({"calls": [dump_value((task.function, call)) for call in task.calls]})
        elif isinstance(task, CheckTask):
            if self._way == "seccomp":  # the program could read the test code's verdict out of the pod's files
                raise ConfinementError("test code beside a program needs Landlock or bubblewrap, also inside a pod")
            self._send(first | {"kind": "check"})
            self._send({"function": task.function, "check": task.check})
        reply = self._receive(time.monotonic() + limits.seconds + _GRACE_SECONDS)
        values = []
        for text in reply["values"]:
            try:
                values.append(load_value(text))
            except ValueError:
                return Outcome("error", values=tuple(values), detail="it returned something that is no value")
        return Outcome(reply["status"], reply["stdout"], tuple(values), reply["detail"])

    def close(self) -> None:
        """End the interpreter and everything that it started."""
        self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                with contextlib.suppress(OSError):  # what it had not read
                    stream.close()

    def _reason(self) -> str:
        assert self._process.stderr is not None
        return self._process.stderr.read().decode("utf-8", "replace").strip().rpartition("\n")[2]

    def _send(self, message: Any) -> None:
        assert self._process.stdin is not None
        text = json.dumps(message).encode()
        try:
            self._process.stdin.write(struct.pack("=Q", len(text)) + text)
            self._process.stdin.flush()
        except OSError as error:
            raise ConfinementError(_LOST) from error

    def _receive(self, deadline: float) -> Any:
        (size,) = struct.unpack("=Q", self._read(8, deadline))
        return json.loads(self._read(size, deadline))

    def _read(self, size: int, deadline: float) -> bytes:
        assert self._process.stdout is not None
        descriptor, data = self._process.stdout.fileno(), bytearray()
        while len(data) < size:
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([descriptor], [], [], left)[0]:
                raise ConfinementError("the confined interpreter does not answer in time")
            block = os.read(descriptor, min(size - len(data), 1 << 20))
            if not block:
                raise ConfinementError(_LOST)
            data += block
        return bytes(data)


def _landlock() -> bool:
    from openthoughts_dagster.evaluation.confined.kernel import landlock_version

    return landlock_version() > 0


def _threads_of(user: int) -> int:
    """Count the threads of a user, all of which the kernel counts against the limit of each process."""
    count = 0
    for folder in Path("/proc").iterdir():
        try:
            if folder.name.isdecimal() and folder.stat().st_uid == user:
                count += sum(1 for _ in (folder / "task").iterdir())
        except OSError:  # it has ended
            continue
    return count
