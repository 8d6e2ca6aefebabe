"""Watches a program for its supervisor: its pipes, its time and its exit.

Runs inside the confined interpreter, so it imports nothing but the standard library and its siblings.
"""

import contextlib
import json
import os
import select
import signal
import time
from typing import Any

from openthoughts_dagster.evaluation.confined.child import become_program
from openthoughts_dagster.evaluation.confined.restrictions import Restrictions
from openthoughts_dagster.evaluation.confined.values import load_value

_TAIL = 2_000  # bytes of an error that are kept
_BLOCK = 1 << 16
_SHORT = 10_000  # characters of a value that is built at once, whatever it is


class Stopped(Exception):
    """A limit was reached; the argument is the status."""


class Program:
    """A confined child process and the pipes to it."""

    def __init__(
        self, confine: Restrictions, limits: dict[str, Any], called: bool, run: Any, others: tuple["Program", ...] = ()
    ) -> None:
        pipes = [os.pipe() for _ in range(3)]
        calls = [os.pipe() for _ in range(2)] if called else [others[0].calls()] if others else []
        restricted, tell = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            os.close(restricted)
            become_program(confine, limits, pipes, calls, tell, run)
        os.close(tell)
        if not os.read(restricted, 1):
            os._exit(1)  # it could not be restricted, and has run nothing
        os.close(restricted)
        self.stdin, self.stdout, self.stderr = pipes[0][1], pipes[1][0], pipes[2][0]
        for unused in (pipes[0][0], pipes[1][1], pipes[2][1]):
            os.close(unused)
        self.request, self.reply = -1, -1
        if called:
            os.close(self.stdin)
            self.stdin = -1
            self.request, self.reply = calls[0][1], calls[1][0]
            os.close(calls[0][0])
            os.close(calls[1][1])
        self.handle = os.pidfd_open(self.pid)
        self.most = int(limits["output_megabytes"]) * 2**20
        self.cpu_seconds = int(limits["cpu_seconds"])
        self.feed, self.printed, self.errors, self.read_bytes = b"", bytearray(), b"", 0
        self.exit_status: int | None = None
        self.usage: Any = None

    def calls(self) -> tuple[int, int]:
        """The descriptors with which another process calls this program's functions."""
        return self.reply, self.request

    def ask(self, call: str, deadline: float) -> dict[str, Any]:
        """Call the program's function and return its answer. Raises Stopped if it ends or a limit is reached."""
        message = call.encode() + b"\n"
        os.set_blocking(self.request, False)
        received = bytearray()
        while not received.endswith(b"\n"):
            wants = [self.request] if message else []
            read, write = _wait([self.reply, self.stdout, self.stderr, self.handle], wants, deadline)
            if write:
                try:
                    message = message[os.write(self.request, message[:_BLOCK]) :]
                except OSError:
                    message = b""
            self.drain(read)
            block = os.read(self.reply, _BLOCK) if self.reply in read else b""
            received += block
            self._count(len(block))
            if not block and (self.reply in read or self.handle in read):  # it has closed the pipe, or ended
                self.end()
                status = self.status()
                raise Stopped("error" if status == "ok" else status, self.error() or "it ended before it answered")
        try:
            reply = json.loads(received)
            texts = {name: str(reply[name]) for name in ("error", "value") if name in reply}
            _try_value(texts.get("value", ""), deadline)
            return texts or {"error": "no answer"}
        except (ValueError, TypeError, RecursionError):
            return {"error": "it answered something else"}

    def drain(self, ready: list[int]) -> None:
        """Read what was printed. Raises Stopped if it is too much."""
        for descriptor in (self.stdout, self.stderr):
            if descriptor in ready:
                block = os.read(descriptor, _BLOCK)
                if descriptor == self.stdout:
                    self.printed += block
                else:
                    self.errors = (self.errors + block)[-_TAIL:]
                self._count(len(block))

    def _count(self, size: int) -> None:
        self.read_bytes += size
        if self.read_bytes > self.most:
            raise Stopped("output")

    def end(self) -> None:
        """Kill the program if it still runs, and read its exit status and the rest of its error."""
        if self.exit_status is not None:
            return
        for kill in (os.killpg, os.kill):  # it leads a group of its own once it is restricted
            with contextlib.suppress(OSError):
                kill(self.pid, signal.SIGKILL)
        _, self.exit_status, self.usage = os.wait4(self.pid, 0)
        os.set_blocking(self.stderr, False)
        with contextlib.suppress(OSError):
            self.errors = (self.errors + os.read(self.stderr, _BLOCK))[-_TAIL:]

    def status(self) -> str:
        """Return how the program ended."""
        assert self.exit_status is not None
        code = os.waitstatus_to_exitcode(self.exit_status)
        if code == 0:
            return "ok"
        if code > 0:
            return "error"
        used = self.usage.ru_utime + self.usage.ru_stime
        # The kernel counts the limit in scheduler ticks, which differ from what it reports as used.
        return "cpu" if -code in (signal.SIGXCPU, signal.SIGKILL) and used >= 0.5 * self.cpu_seconds else "killed"

    def error(self) -> str:
        """Return the end of what the program wrote to its standard error."""
        return self.errors.decode("utf-8", "replace").strip()


def watch(programs: list[Program], deadline: float, until: Program) -> None:
    """Feed and drain programs until one of them has ended. Raises Stopped at a limit."""
    closed: set[int] = {-1}
    for program in programs:
        if program.stdin not in closed:
            os.set_blocking(program.stdin, False)
    while True:
        reading = [
            descriptor
            for program in programs
            for descriptor in (program.stdout, program.stderr)
            if descriptor not in closed
        ]
        writing = [program.stdin for program in programs if program.feed and program.stdin not in closed]
        for program in programs:
            if not program.feed and program.stdin not in closed:
                os.close(program.stdin)
                closed.add(program.stdin)
        ready, writable = _wait([*reading, until.handle], writing, deadline)
        for program in programs:
            if program.stdin in writable:
                try:
                    program.feed = program.feed[os.write(program.stdin, program.feed[:_BLOCK]) :]
                except OSError:  # it does not read, or has closed its standard input
                    program.feed = b""
            before = program.read_bytes
            own = [descriptor for descriptor in ready if descriptor in (program.stdout, program.stderr)]
            program.drain(own)
            if own and program.read_bytes == before:
                closed.update(own)  # at their end
        if ready == [until.handle]:
            _, until.exit_status, until.usage = os.wait4(until.pid, 0)
            return


def _try_value(text: str, deadline: float) -> None:
    """Build a value as the caller will. Raises Stopped if that takes too long, as a set of colliding numbers does."""
    if len(text) <= _SHORT:
        return

    def stop(*_: object) -> None:
        raise Stopped("time", "its result takes too long to build")

    signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, max(0.001, deadline - time.monotonic()))
    try:
        load_value(text)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


def _wait(reading: list[int], writing: list[int], deadline: float) -> tuple[list[int], list[int]]:
    left = deadline - time.monotonic()
    if left <= 0:
        raise Stopped("time")
    ready, writable, _ = select.select(reading, writing, [], left)
    if not ready and not writable:
        raise Stopped("time")
    return ready, writable
