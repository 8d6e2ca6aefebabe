"""The process of a program: it takes its pipes, restricts itself, runs, and answers calls of its functions.

Runs inside the confined interpreter, so it imports nothing but the standard library and its siblings.
"""

import atexit
import io
import json
import os
import sys
import threading
import traceback
import types
from typing import Any, NoReturn

from openthoughts_dagster.evaluation.confined.restrictions import Restrictions
from openthoughts_dagster.evaluation.confined.values import dump_value, load_value

_REQUEST, _REPLY = 3, 4  # descriptors of a program whose functions are called from outside
_TAIL = 2_000  # characters of an error that are kept


def become_program(confine: Restrictions, limits: Any, pipes: Any, calls: Any, tell: int, run: Any) -> NoReturn:
    """Turn the forked child into the program: take its pipes, restrict it, report that, run, and exit."""
    try:
        tell = _moved(tell, 62)
        for target, (reading, writing) in enumerate(pipes):
            os.dup2(reading if target == 0 else writing, target)
        keep = [calls[0][0], calls[1][1]] if len(calls) == 2 else [end for pair in calls for end in pair]
        keep = [os.dup(descriptor) for descriptor in keep]  # none of them is one of the targets
        keep = [_moved(descriptor, 60 + place) for place, descriptor in enumerate(keep)]
        for place, descriptor in enumerate(keep):
            os.dup2(descriptor, _REQUEST + place)
        os.closerange(3 + len(keep), 62)
        os.closerange(63, 1024)
        confine.enter(limits)
        os.write(tell, b"R")
        os.close(tell)
    except BaseException:
        os._exit(1)
    code = 1
    try:
        sys.stdin = open(0, encoding="utf-8", errors="surrogateescape", closefd=False)
        sys.stdout = open(1, "w", encoding="utf-8", errors="surrogateescape", closefd=False)
        sys.stderr = open(2, "w", encoding="utf-8", errors="backslashreplace", closefd=False)
        sys.__dict__.update(__stdin__=sys.stdin, __stdout__=sys.stdout, __stderr__=sys.stderr)
        code = run()
    except SystemExit as stop:
        code = _exit_code(stop)
    except BaseException:
        traceback.print_exc()
    try:
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, io.TextIOBase) and not stream.closed:
                stream.flush()
    except BaseException:
        code = code or 1
    os._exit(code)


def _moved(descriptor: int, target: int) -> int:
    os.dup2(descriptor, target)
    return target


def run_program(task: dict[str, Any], called: bool) -> int:
    module = types.ModuleType("__main__")
    sys.modules["__main__"] = module
    sys.argv = ["program.py"]
    code = compile(task["program"], "program.py", "exec")
    task.clear()
    exec(code, module.__dict__)
    if called:
        _answer_calls(module)
    if threading.active_count() > 1:
        threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    return 0


def _answer_calls(module: types.ModuleType) -> None:
    name = sys.argv[0]
    requests = open(_REQUEST, encoding="utf-8", closefd=False)
    for line in requests:
        try:
            name, arguments = load_value(line)
            reply = {"value": dump_value(_function(module, name)(*arguments))}
        except BaseException as error:
            reply = {"error": f"{type(error).__name__}: {error}"[:_TAIL]}
        message = json.dumps(reply).encode() + b"\n"
        while message:
            message = message[os.write(_REPLY, message) :]


def _function(module: types.ModuleType, name: str) -> Any:
    owner, dot, method = name.partition("().")
    return getattr(getattr(module, owner)(), method) if dot else getattr(module, name)


def run_check(task: dict[str, Any]) -> int:
    """Run a benchmark's test code; the program's process answers its calls of `candidate`."""
    replies = open(_REQUEST, encoding="utf-8", closefd=False)

    def candidate(*arguments: Any) -> Any:
        message = dump_value((task["function"], arguments)).encode() + b"\n"
        while message:
            message = message[os.write(_REPLY, message) :]
        reply = json.loads(replies.readline() or '{"error": "the program ended"}')
        if "value" not in reply:
            raise RuntimeError(str(reply.get("error")))
        return load_value(reply["value"])

    module = types.ModuleType("__main__")
    exec(compile(task["check"], "check.py", "exec"), module.__dict__ | {"candidate": candidate})
    return 0


def _exit_code(stop: SystemExit) -> int:
    if stop.code is None or isinstance(stop.code, int):
        return (stop.code or 0) & 0xFF
    print(stop.code, file=sys.stderr)
    return 1
