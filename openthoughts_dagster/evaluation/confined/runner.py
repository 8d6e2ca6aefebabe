"""The interpreter inside the confinement: it forks a new process for each program and reports the outcome.

Runs inside the confined interpreter, so it imports nothing but the standard library and its siblings. The process
that started it is the only one that is trusted with verdicts. There are three kinds of processes:

- the template, which has read no task, and forks
- a supervisor for each task, which reads it, watches the clock and the output, and forks
- the program (and for a `CheckTask` the test code in a process of its own), with every restriction upon it.

The program is forked before its supervisor reads the expected results, so they are not in its memory.
"""

import json
import os
import select
import struct
import sys
import time
from typing import Any, NoReturn

from openthoughts_dagster.evaluation.confined import kernel
from openthoughts_dagster.evaluation.confined.child import run_check, run_program
from openthoughts_dagster.evaluation.confined.restrictions import Restrictions
from openthoughts_dagster.evaluation.confined.watching import Program, Stopped, watch

_IMPORTED_BEFORE = (
    "bisect", "collections", "copy", "datetime", "decimal", "fractions", "functools", "heapq", "itertools", "json",
    "math", "operator", "queue", "random", "re", "socket", "statistics", "string", "typing",
)  # fmt: skip


def main() -> None:
    """Run the confined interpreter: read its options, import what programs use most, and serve."""
    options = _receive(0)
    sys.meta_path.append(Packages(dict(options["packages"])))
    for name in _IMPORTED_BEFORE:
        __import__(name)
    serve(options)


class Packages:
    """Finds the few packages that programs may import beside the standard library, without a folder to search."""

    def __init__(self, folders: dict[str, str]) -> None:
        self.folders = folders

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> Any:
        """The spec of a top-level package; None for any other module."""
        from importlib.util import spec_from_file_location

        if name not in self.folders:
            return None
        folder = self.folders[name]
        return spec_from_file_location(name, f"{folder}/__init__.py", submodule_search_locations=[folder])


def serve(options: dict[str, Any]) -> None:
    """Confine this interpreter, say hello, and run tasks until standard input ends."""
    base = _address_space()
    filter_program = kernel.system_call_filter() if options["system_calls"] else None
    kernel.never_gain_privileges()
    if options["files"]:
        kernel.restrict_files(options["readable"])
    user = None
    if options["system_calls"] or options["files"]:
        user = options["user"] if os.geteuid() == 0 else None
        if user is None:
            kernel.drop_capabilities()
    confine = Restrictions(base, filter_program, options["files"], user, options["processes"])
    confined = options["system_calls"] or options["files"]
    _send(1, {"escapes": confine.find_escapes() if confined else []})
    while select.select([0], [], [])[0]:
        supervisor = os.fork()
        if supervisor == 0:
            _supervise(confine)
        _, status = os.waitpid(supervisor, 0)
        if os.waitstatus_to_exitcode(status) != 0:
            return


def _supervise(confine: Restrictions) -> NoReturn:
    """Run one task: read it, fork its program, watch it, report. A supervisor that fails ends its template."""
    task = _receive(0)
    limits = task["limits"]
    deadline = time.monotonic() + float(limits["seconds"])
    called = task["kind"] != "stdin"
    program = Program(confine, limits, called, lambda: run_program(task, called))
    judge: Program | None = None
    report: dict[str, Any] = {"status": "ok", "stdout": "", "values": [], "detail": ""}
    try:
        if task["kind"] == "stdin":
            program.feed = task["stdin"].encode("utf-8", "surrogatepass")
            watch([program], deadline, until=program)
        elif task["kind"] == "call":
            calls = _receive(0)["calls"]
            for call in calls:
                reply = program.ask(call, deadline)
                if "error" in reply:
                    raise Stopped("error", reply["error"])
                report["values"].append(reply["value"])
        else:
            check = _receive(0)
            judge = Program(confine, limits, False, lambda: run_check(check), others=(program,))
            watch([program, judge], deadline, until=judge)
    except Stopped as stopped:
        report["status"], report["detail"] = stopped.args[0], stopped.args[1] if len(stopped.args) > 1 else ""
    for process in (program, judge):
        if process is not None:
            process.end()
    ended = judge or program
    if report["status"] == "ok" and task["kind"] != "call":
        report["status"] = ended.status()
    report["detail"] = (report["detail"] or ended.error()) if report["status"] != "ok" else ""
    if task["kind"] == "stdin":
        report["stdout"] = program.printed.decode("utf-8", "replace")
    _send(1, report)
    os._exit(0)


def _address_space() -> int:
    try:
        with open("/proc/self/statm") as file:
            return int(file.read().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:  # bubblewrap gives no /proc
        return 96 * 2**20


def _send(descriptor: int, message: Any) -> None:
    text = json.dumps(message).encode()
    data = struct.pack("=Q", len(text)) + text
    while data:
        data = data[os.write(descriptor, data) :]


def _receive(descriptor: int) -> Any:
    (size,) = struct.unpack("=Q", _read_exactly(descriptor, 8))
    return json.loads(_read_exactly(descriptor, size))


def _read_exactly(descriptor: int, size: int) -> bytes:
    data = bytearray()
    while len(data) < size:
        block = os.read(descriptor, min(size - len(data), 1 << 20))
        if not block:
            os._exit(1)
        data += block
    return bytes(data)
