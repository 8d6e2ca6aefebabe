"""System calls, signals and descriptors by which a program could get out."""

import contextlib
import os
import platform
from pathlib import Path

import pytest

from openthoughts_dagster.evaluation.confined import (
    Outcome,
    ProgramPool,
    kernel,
)
from openthoughts_dagster_tests.evaluation.confined_pools import (
    NEEDS_LANDLOCK,
    attempt,
    pool,
    run,
)

__all__ = ["pool"]  # a fixture

pytestmark = NEEDS_LANDLOCK


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
