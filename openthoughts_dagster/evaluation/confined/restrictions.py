"""The restrictions of a program, and a check that they hold.

Runs inside the confined interpreter, so it imports nothing but the standard library and its siblings.
"""

import json
import os
from typing import Any

from openthoughts_dagster.evaluation.confined import kernel


class Restrictions:
    """All restrictions of a program."""

    def __init__(self, base: int, filter_program: Any, files: bool, user: int | None, processes: int | None) -> None:
        self.base, self.filter_program, self.files = base, filter_program, files
        self.user, self.processes = user, processes

    def enter(self, limits: dict[str, Any]) -> None:
        """Restrict this process. It cannot be undone."""
        os.setsid()
        kernel.die_with_parent()
        if self.user is not None:
            os.setgroups([])
            os.setresgid(self.user, self.user, self.user)
            os.setresuid(self.user, self.user, self.user)
            kernel.die_with_parent()  # changing the user forgets it
        memory = self.base + int(limits["memory_megabytes"]) * 2**20
        kernel.limit_resources(int(limits["cpu_seconds"]), memory, self.processes)
        if self.files:
            kernel.restrict_signals()
        if self.filter_program is not None:
            kernel.restrict_system_calls(self.filter_program)

    def find_escapes(self) -> list[str]:
        """Return what a restricted process can do although it must not; an empty list if all restrictions hold."""
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(reading)
            try:
                self.enter({"memory_megabytes": 256, "cpu_seconds": 5})
                found = _escapes()
            except OSError as error:
                found = [f"cannot be restricted: {error}"]
            os.write(writing, json.dumps(found).encode())
            os._exit(0)
        os.close(writing)
        with open(reading, "rb") as pipe:
            text = pipe.read()
        os.waitpid(child, 0)
        return [str(escape) for escape in json.loads(text)] if text else ["ends before it says anything"]


def _escapes() -> list[str]:
    import socket

    tries = {
        "reads /etc/passwd": lambda: open("/etc/passwd").close(),
        "lists /etc": lambda: os.listdir("/etc"),
        "reads processes": lambda: open("/proc/self/environ").close(),
        "writes to /tmp": lambda: os.open("/tmp/escaped", os.O_CREAT | os.O_WRONLY),
        "opens sockets": lambda: socket.socket().close(),
        "starts processes": lambda: os.fork() or os._exit(0),
        "runs commands": lambda: os.execv("/bin/true", ["/bin/true"]),
        "signals its parent": lambda: os.kill(os.getppid(), 0),
    }
    found = []
    for what, attempt in tries.items():
        try:
            attempt()
        except (OSError, ImportError):
            continue
        found.append(what)
    return found
