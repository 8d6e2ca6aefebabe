"""Programs that try to get out, in every way that this machine has, as root and as a user without rights."""

import contextlib
import os
import platform
import shutil
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from openthoughts_dagster.evaluation.confined import (
    CallTask,
    CheckTask,
    ConfinementError,
    Limits,
    Outcome,
    ProgramPool,
    StdinTask,
    kernel,
    ways,
)
from openthoughts_dagster.evaluation.confined.ways import NOBODY, Interpreter, own_interpreter

SHORT = Limits(seconds=5, cpu_seconds=2, memory_megabytes=256, output_megabytes=1)
SYSTEM_PYTHON = "/usr/bin/python3"

pytestmark = pytest.mark.skipif(not kernel.landlock_version(), reason="the kernel has no Landlock")


@pytest.fixture(scope="module", params=["landlock", "bubblewrap", "landlock, nobody", "bubblewrap, nobody"])
def pool(request: pytest.FixtureRequest) -> Iterator[ProgramPool]:
    way, _, user = request.param.partition(", ")
    if way == "bubblewrap" and not shutil.which("bwrap"):
        pytest.skip("bubblewrap is not installed")
    interpreter = None
    if user:
        if os.geteuid() or not Path(SYSTEM_PYTHON).exists():
            pytest.skip("only root starts processes of another user, and needs a Python that all can read")
        interpreter = Interpreter.of(SYSTEM_PYTHON, NOBODY)
    with ProgramPool(way, workers=1, interpreter=interpreter) as pool:
        yield pool


@pytest.fixture
def clocked(pool: ProgramPool, request: pytest.FixtureRequest) -> ProgramPool:
    """Some of the pools, for tests that take seconds: whoever keeps the time is the same in all."""
    if request.node.callspec.params["pool"] not in ("landlock", "bubblewrap, nobody"):
        pytest.skip("tested in two of the ways")
    return pool


def run(pool: ProgramPool, program: str, stdin: str = "", limits: Limits = SHORT) -> Outcome:
    (outcome,) = pool.run([StdinTask(program, stdin)], limits)
    return outcome


def attempt(*tries: str) -> str:
    """A program that prints a line for each expression that works."""
    return "import os, sys, ctypes\nlibc = ctypes.CDLL(None)\n" + "\n".join(
        f"try:\n    print('WORKED', {number}, {code})\nexcept (OSError, ImportError, RuntimeError) as e: pass"
        for number, code in enumerate(tries)
    )


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
    assert time.monotonic() - start < 15


def test_nothing_outlives_its_program(pool: ProgramPool) -> None:
    outlive = "import threading, time, os\nthreading.Thread(target=time.sleep, args=(60,)).start()\nprint('started')"
    start = time.monotonic()
    assert run(pool, outlive, limits=Limits(seconds=0.5)).status == "time"
    assert time.monotonic() - start < 5
    assert run(pool, "print('next')") == Outcome("ok", "next\n")


def test_no_other_process_can_be_signalled_traced_or_changed(pool: ProgramPool) -> None:
    parent = "os.getppid()"
    outcome = run(
        pool,
        attempt(
            f"os.kill({parent}, 9)",
            "os.kill(-1, 9)",
            "os.killpg(0, 9)",
            "os.kill(1, 9)",
            f"libc.ptrace(16, {parent}, 0, 0) == 0 or open('/none')",
            f"libc.process_vm_readv({parent}, 0, 0, 0, 0, 0) >= 0 or open('/none')",
            f"__import__('resource').prlimit({parent}, 0, (1, 1))",
            f"__import__('fcntl').fcntl(0, 8, {parent})",
            f"os.setpriority(os.PRIO_PROCESS, {parent}, 19)",
            f"os.sched_setaffinity({parent}, [0])",
            f"os.pidfd_open({parent})",
            "os.setuid(1)",
            "libc.unshare(0x10000000) == 0 or open('/none')",
            "libc.mount(b'none', b'/tmp', b'tmpfs', 0, 0) == 0 or open('/none')",
        ),
    )
    assert outcome == Outcome("ok")
    assert run(pool, "print('the pool still runs')").stdout == "the pool still runs\n"


def test_every_system_call_that_is_not_listed_is_refused_whatever_it_is(pool: ProgramPool) -> None:
    """Among them io_uring, memfd_create, execveat, keys, shared memory, queues, signals, tracing, priorities."""
    machine = kernel._ARCHITECTURES[platform.machine()][0]
    calls = (kernel._CLONE, kernel._CLONE3, kernel._FCNTL, kernel._IOCTL, kernel._PRCTL, kernel._PRLIMIT)
    listed = {numbers[machine] for numbers in (*kernel._CALLS.values(), *calls, kernel._OPEN, kernel._OPENAT)}
    listed |= {335, 336}  # uretprobe and uprobe, which Linux lets past every filter: they end a caller without a probe
    program = f"""
import ctypes, os, errno
libc = ctypes.CDLL(None, use_errno=True)
def works(number, *arguments):
    done = libc.syscall(number, *arguments)
    return done >= 0 or ctypes.get_errno() != errno.EPERM
others = [n for n in range(600) if n not in {listed}]
print([n for n in others if works(n, 0, 0, 0, 0, 0, 0)])
print([n for n in range(600) if works(n | 0x40000000, 0, 0, 0, 0, 0, 0)])  # as x32 programs call them
"""
    assert run(pool, program) == Outcome("ok", "[]\n[]\n")


@pytest.mark.skipif(platform.machine() != "x86_64", reason="the numbers are those of x86-64")
def test_listed_system_calls_are_refused_with_dangerous_arguments(pool: ProgramPool) -> None:
    tries = [
        *(f"libc.syscall(56, {flags}, 0, 0, 0, 0) >= 0 or fail()" for flags in (17, 0x4000 | 17, 0x10000000 | 17)),
        *(f"os.open('/dev/null', {flags})" for flags in (1, 2, 3, 0x40, 0x200, 0x410002)),
        "os.open(os.__file__, os.O_RDONLY | os.O_TRUNC)",
        "libc.syscall(2, b'/dev/null', 1) >= 0 or fail()",
        "libc.ioctl(0, 0x5412, b'x') == 0 or fail()",  # types into the terminal
        "libc.fcntl(0, 15, b'12345678') == 0 or fail()",
        *(f"libc.prctl({option}, 1, 0, 0, 0) == 0 or fail()" for option in (1, 4, 22, 23, 38)),
        "libc.syscall(302, 1, 0, 0, 0) == 0 or fail()",
    ]
    program = "def fail(): raise OSError\n" + attempt(*tries)
    assert run(pool, program) == Outcome("ok")
    code = "b8140000" + "00cd80c3"  # mov eax, 20; int 0x80: the call getpid of 32-bit programs, which no list covers
    machine = f"""
import ctypes, mmap
memory = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
memory.write(bytes.fromhex({code!r}))
address = ctypes.addressof(ctypes.c_char.from_buffer(memory))
print(ctypes.CFUNCTYPE(ctypes.c_int)(address)())
"""
    assert run(pool, machine).status == "killed"


def test_no_file_is_emptied_where_landlock_knows_no_truncation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Landlock of Linux 5.13 to 6.1, as Ubuntu 22.04 and Debian 12 have it."""
    library = tmp_path / "library.py"
    library.write_text("kept")
    monkeypatch.setattr(kernel, "landlock_version", lambda: 2)
    filter_program = kernel.system_call_filter()
    child = os.fork()
    if child == 0:
        with contextlib.suppress(OSError):
            kernel.never_gain_privileges()
            kernel.restrict_files([str(tmp_path)])
            kernel.restrict_system_calls(filter_program)
            os.open(library, os.O_RDONLY | os.O_TRUNC)
        os._exit(0)
    os.waitpid(child, 0)
    assert library.read_text() == "kept"


def test_no_other_descriptor_is_open(pool: ProgramPool) -> None:
    program = """
import os
for number in range(3, 4096):
    try: os.write(number, b'{}')
    except OSError: continue
    print('WROTE', number)
"""
    assert run(pool, program) == Outcome("ok")


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
