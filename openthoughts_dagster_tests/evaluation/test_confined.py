"""Programs that try to get out, in every way that this machine has, as root and as a user without rights."""

import shutil
import socket
import time
from pathlib import Path

import pytest

from openthoughts_dagster.evaluation.confined import (
    CallTask,
    CheckTask,
    ConfinementError,
    Limits,
    Outcome,
    ProgramPool,
    kernel,
    ways,
)
from openthoughts_dagster.evaluation.confined.ways import own_interpreter
from openthoughts_dagster_tests.evaluation.confined_pools import (
    NEEDS_LANDLOCK,
    SHORT,
    attempt,
    clocked,
    pool,
    run,
)

__all__ = ["clocked", "pool"]  # fixtures

pytestmark = NEEDS_LANDLOCK


def test_a_program_reads_its_input_and_prints(pool: ProgramPool) -> None:
    assert run(pool, "print(sum(map(int, input().split())))", "20 22\n") == Outcome("ok", "42\n")
    large = "x" * 3_000_000
    assert run(pool, "import sys; print(len(sys.stdin.read()))", large).stdout == "3000000\n"


def test_the_library_threads_and_deep_recursion_work(pool: ProgramPool) -> None:
    program = """
import sys, threading, fractions, decimal, random, time, heapq
sys.setrecursionlimit(20000)
threading.stack_size(64 * 2**20)
def depth(n): return n and 1 + depth(n - 1)
thread = threading.Thread(target=lambda: print(depth(15000)))
thread.start(); thread.join(); time.sleep(0.001); random.random()
"""
    assert run(pool, program) == Outcome("ok", "15000\n")


def test_no_file_can_be_read(pool: ProgramPool, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("hf_secret")
    secret.chmod(0o644)
    paths = [
        secret,
        Path.home(),
        Path.home() / ".bashrc",
        Path(__file__),
        "/etc/passwd",
        "/proc/self/environ",
        "/proc/1/cmdline",
    ]
    outcome = run(
        pool, attempt(*(f"open({str(path)!r}).read()" for path in paths), "os.listdir('/etc')", "os.listdir('/proc')")
    )
    assert outcome == Outcome("ok")


def test_the_environment_holds_no_secret(pool: ProgramPool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    with ProgramPool(workers=1) as fresh:
        outcome = run(fresh, "import os, gc; print(dict(os.environ))")
    assert "hf_secret" not in outcome.stdout
    assert "HF_TOKEN" not in run(pool, "import os; print(dict(os.environ))").stdout


def test_no_socket_opens_not_even_to_this_machine(pool: ProgramPool) -> None:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        address = server.getsockname()
        outcome = run(
            pool,
            "import socket\n"
            + attempt(
                f"socket.create_connection({address})",
                "socket.socket(socket.AF_UNIX)",
                "socket.socketpair()",
                "socket.socket(socket.AF_NETLINK, socket.SOCK_RAW)",
                "libc.syscall(41, 2, 1, 0) >= 0 or int('x')",
            ).replace("RuntimeError", "RuntimeError, ValueError"),
        )
    assert outcome == Outcome("ok")


def test_no_process_starts_so_no_fork_bomb(pool: ProgramPool) -> None:
    outcome = run(
        pool,
        attempt(
            "os.fork()",
            "os.posix_spawn('/bin/true', ['true'], {})",
            "os.execv('/bin/true', ['true'])",
            "__import__('subprocess').run(['true'])",
            "__import__('multiprocessing').Process(target=print).start()",
        ),
    )
    assert outcome == Outcome("ok")
    bomb = run(pool, "import os\nwhile True:\n    try: os.fork()\n    except PermissionError: break\nprint('alone')")
    assert bomb.stdout == "alone\n"


def test_threads_without_end_end_at_a_limit(clocked: ProgramPool) -> None:
    program = """
import threading, time
threading.stack_size(32768)
started = 0
try:
    while True:
        threading.Thread(target=time.sleep, args=(60,), daemon=True).start()
        started += 1
except (RuntimeError, MemoryError): pass
import os
os.write(1, str(started).encode()); os._exit(0)
"""
    outcome = run(clocked, program, limits=Limits(seconds=2, cpu_seconds=1, memory_megabytes=256))
    print(outcome)
    assert outcome.status in ("ok", "time", "cpu")
    assert int(outcome.stdout or 0) < 20_000


def test_memory_is_limited(clocked: ProgramPool) -> None:
    assert "MemoryError" in run(clocked, "x = bytearray(600 * 2**20)").detail
    growing = "x = []\nwhile True: x.append(bytearray(2**20))"
    assert "MemoryError" in run(clocked, growing).detail


def test_nothing_is_written_to_disk(pool: ProgramPool, tmp_path: Path) -> None:
    tmp_path.chmod(0o777)
    outcome = run(
        pool,
        attempt(
            f"open({str(tmp_path / 'full')!r}, 'w').write('x')",
            "open('/tmp/full', 'w')",
            "open('/dev/shm/full', 'w')",
            "open('full', 'w')",
            "__import__('tempfile').TemporaryFile()",
            "os.mkdir('/tmp/full')",
            "os.memfd_create('full')",
            "os.symlink('/etc', '/tmp/etc')",
        ),
    )
    assert outcome == Outcome("ok")
    assert not list(tmp_path.iterdir())


def test_time_and_processor_time_are_limited(clocked: ProgramPool) -> None:
    limits = Limits(seconds=0.5, cpu_seconds=5)
    start = time.monotonic()
    assert run(clocked, "import time; time.sleep(60)", limits=limits).status == "time"
    stubborn = "import signal, time\nfor n in (1, 2, 3, 15): signal.signal(n, signal.SIG_IGN)\nwhile True: pass"
    assert run(clocked, stubborn, limits=limits).status == "time"
    silent = "import os, time\nfor n in range(3): os.close(n)\ntime.sleep(60)"
    assert run(clocked, silent, limits=limits).status == "time"
    assert run(clocked, "while True: pass", limits=Limits(seconds=20, cpu_seconds=1)).status == "cpu"
    assert time.monotonic() - start < 50


def test_nothing_outlives_its_program(pool: ProgramPool) -> None:
    outlive = "import threading, time, os\nthreading.Thread(target=time.sleep, args=(60,)).start()\nprint('started')"
    start = time.monotonic()
    assert run(pool, outlive, limits=Limits(seconds=0.5)).status == "time"
    assert time.monotonic() - start < 50
    assert run(pool, "print('next')") == Outcome("ok", "next\n")


def test_gigabytes_of_output_are_cut_off(pool: ProgramPool) -> None:
    assert run(pool, "while True: print('x' * 100_000)").status == "output"
    assert run(pool, "import sys\nwhile True: sys.stderr.write('x' * 100_000)").status == "output"


def test_tricks_with_standard_input_end(pool: ProgramPool) -> None:
    assert "EOFError" in run(pool, "input()").detail
    assert run(pool, "import sys; sys.stdin.close(); print(1)", "unread " * 100_000).stdout == "1\n"
    assert run(pool, "import os; os.close(0); print(1)", "unread " * 100_000).stdout == "1\n"


def test_early_exits_and_crashes_are_no_success_of_a_check(clocked: ProgramPool) -> None:
    check = "def check(f):\n    assert f(2) == 4\n    assert f([1, (2,)]) == [1, (2,), 1, (2,)]\ncheck(candidate)"
    programs = [
        "def f(x): return x * 2",
        "def f(x): return x",
        "import os; os._exit(0)",
        "raise SystemExit(0)",
        "def f(x): import os; os._exit(0)",
        'import os\nos.write(4, b\'{"value": "4"}\\n\' * 9)\ndef f(x): os._exit(0)',
        "import ctypes\ndef f(x): ctypes.string_at(0)",
        "class Yes:\n    def __eq__(self, other): return True\ndef f(x): return Yes()",
        "class Yes(int):\n    def __eq__(self, other): return True\ndef f(x): return Yes(5)",
        "import builtins, unittest\nbuiltins.AssertionError = KeyError\ndef f(x): return 0",
        "def f(x):\n    while True: pass",
    ]
    tasks = [CheckTask(program, "f", check) for program in programs]
    outcomes = clocked.run(tasks, Limits(seconds=3, cpu_seconds=1))
    passed = [program for program, outcome in zip(programs, outcomes, strict=True) if outcome.status == "ok"]
    assert passed == ["def f(x): return x * 2"]


def test_the_test_code_is_not_in_the_memory_of_the_program(pool: ProgramPool) -> None:
    program = """
import gc
def f(x):
    found = [o for o in gc.get_objects() if isinstance(o, (dict, list)) and 'the-' + 'answer' in repr(o)[:100000]]
    return 'seen' if found else 'not seen'
"""
    check = "secret = 'the-answer'\nassert candidate(1) == 'not seen'"
    assert pool.run([CheckTask(program, "f", check)], SHORT) == [Outcome("ok")]


def test_functions_and_methods_answer_with_plain_values(pool: ProgramPool) -> None:
    program = "class Solution:\n    def twice(self, x): return (x * 2, {'a': {x}})\n"
    ok, wrong = pool.run(
        [
            CallTask(program, "Solution().twice", ((2,), (3,))),
            CallTask("def f(x):\n    return 1 // x", "f", ((1,), (0,), (1,))),
        ],
        SHORT,
    )
    assert ok == Outcome("ok", values=((4, {"a": {2}}), (6, {"a": {3}})))
    assert (wrong.status, wrong.values) == ("error", (1,))
    assert "ZeroDivisionError" in wrong.detail
    start = time.monotonic()
    for program in ("import os; os._exit(0)", "import os; os.close(4)\ndef f(x): return 1", "def f(x:"):
        assert pool.run([CallTask(program, "f", ((1,),))], SHORT)[0].status in ("error", "killed")
    assert time.monotonic() - start < 3  # nobody waits for an answer that cannot come
    odd = "import os\nos.write(4, b'[[[' * 5 + b'\\n')\ndef f(x): return object()"
    assert pool.run([CallTask(odd, "f", ((1,),))], SHORT)[0].status == "error"


def test_results_that_take_the_caller_long_to_build_or_hold_end_at_a_limit(clocked: ProgramPool) -> None:
    written = "import json, os, time\ndef f(x):\n    m = TEXT.encode() + b'\\n'\n    while m: m = m[os.write(4, m):]\n"
    colliding = "json.dumps({'value': json.dumps({'set': [n * (2**61 - 1) for n in range(200_000)]})})"
    task = CallTask(written.replace("TEXT", colliding) + "    time.sleep(60)", "f", ((1,),))
    assert clocked.run([task], Limits(seconds=1))[0].status == "time"
    many = CallTask("def f(x): return 'x' * 500_000", "f", ((1,), (2,), (3,)))
    assert clocked.run([many], SHORT)[0].status == "output"
    deep = CallTask(written.replace("TEXT", "'{\"value\": ' + '[' * 400_000") + "    time.sleep(60)", "f", ((1,),))
    assert clocked.run([deep], SHORT)[0].status == "error"


def test_texts_that_are_no_unicode_are_read_and_printed(pool: ProgramPool) -> None:
    assert run(pool, "print(len(input()))", "\ud800") == Outcome("ok", "3\n")
    raw = "import sys; sys.stdout.buffer.write(b'\\xed\\xa0\\x80\\x00\\xff'); print('\\udc80')"
    assert run(pool, raw) == Outcome("ok", "\ufffd" * 3 + "\x00\ufffd\ufffd\n")
    assert run(pool, "print(1)\0").status == "error" and run(pool, "print('\ud800')").status == "error"


def test_a_machine_without_a_way_refuses_and_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernel, "landlock_version", lambda: 0)
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(
        ConfinementError, match=r"bubblewrap: the command bwrap is not there; landlock: the kernel has no"
    ):
        ProgramPool()
    with ProgramPool("none", workers=1) as pool:
        assert pool.way == "none + limits"
        assert run(pool, "import os; print(os.fork() >= 0)").stdout.startswith("True")


def test_an_interpreter_that_is_killed_is_started_again(pool: ProgramPool) -> None:
    with ProgramPool("landlock", workers=1) as own:
        interpreter = own._take()
        interpreter._process.kill()
        own._idle.put(interpreter)
        assert run(own, "print(1)").stdout == "1\n"


def test_the_way_is_recorded() -> None:
    with ProgramPool("landlock", workers=1) as pool:
        assert pool.way == "Landlock + seccomp + limits"


def test_nobody_reads_no_python_below_a_closed_home(tmp_path: Path) -> None:
    closed = tmp_path / "home"
    (closed / "lib").mkdir(parents=True)
    closed.chmod(0o700)
    assert not ways.readable_by_nobody((str(closed / "lib"),))
    assert own_interpreter().readable
