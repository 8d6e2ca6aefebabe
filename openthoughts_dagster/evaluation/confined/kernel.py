"""Restrictions by the Linux kernel: Landlock for files, seccomp for system calls, limits of resources.

Runs inside the confined interpreter, so it imports nothing but the standard library. None of it needs privileges or
user namespaces: it works in containers under Kubernetes' restricted pod standard. See landlock(7), seccomp(2).
"""

import ctypes
import errno
import os
import platform
import resource
import struct

_LIBC = ctypes.CDLL(None, use_errno=True)
_PR_SET_PDEATHSIG, _PR_SET_NO_NEW_PRIVS, _PR_SET_SECCOMP = 1, 38, 22
_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446  # the same on every architecture

# Landlock's rights over files by the version of the interface that brought them.
_FILE_RIGHTS = {1: (1 << 13) - 1, 2: (1 << 14) - 1, 3: (1 << 15) - 1, 5: (1 << 16) - 1}
_READ_FILE, _READ_FOLDER = 1 << 2, 1 << 3
_ALLOW, _REFUSE, _NO_SUCH_CALL = 0x7FFF0000, 0x00050000 | errno.EPERM, 0x00050000 | errno.ENOSYS

# System calls that an interpreter needs to compute, read its library and print: x86-64 and aarch64 (None: not there).
# None of them writes a file, opens a connection, starts a process, signals or traces another, or changes identity.
_CALLS: dict[str, tuple[int, int | None]] = {
    "read": (0, 63), "write": (1, 64), "close": (3, 57), "mmap": (9, 222), "munmap": (11, 215), "brk": (12, 214),
    "futex": (202, 98), "fstat": (5, 80), "lseek": (8, 62), "newfstatat": (262, 79),
    "stat": (4, None), "lstat": (6, None), "statx": (332, 291), "getdents64": (217, 61),
    "rt_sigaction": (13, 134), "rt_sigprocmask": (14, 135), "rt_sigreturn": (15, 139), "sigaltstack": (131, 132),
    "mprotect": (10, 226), "mremap": (25, 216), "madvise": (28, 233), "mincore": (27, 232), "msync": (26, 227),
    "pread64": (17, 67), "pwrite64": (18, 68), "readv": (19, 65), "writev": (20, 66), "access": (21, None),
    "faccessat": (269, 48), "faccessat2": (439, 439), "readlink": (89, None), "readlinkat": (267, 78),
    "getcwd": (79, 17), "chdir": (80, 49), "fchdir": (81, 50), "dup": (32, 23), "dup2": (33, None), "dup3": (292, 24),
    "pipe": (22, None), "pipe2": (293, 59), "eventfd2": (290, 19), "poll": (7, None), "ppoll": (271, 73),
    "select": (23, None), "pselect6": (270, 72), "epoll_create1": (291, 20), "epoll_ctl": (233, 21),
    "epoll_wait": (232, None), "epoll_pwait": (281, 22), "nanosleep": (35, 101), "clock_nanosleep": (230, 115),
    "clock_gettime": (228, 113), "clock_getres": (229, 114), "gettimeofday": (96, 169), "time": (201, None),
    "times": (100, 153), "alarm": (37, None), "getitimer": (36, 102), "setitimer": (38, 103), "sched_yield": (24, 124),
    "sched_getaffinity": (204, 123), "sched_getparam": (143, 121), "sched_getscheduler": (145, 120),
    "getpid": (39, 172), "gettid": (186, 178), "getppid": (110, 173), "getpgrp": (111, None), "getpgid": (121, 155),
    "getsid": (124, 156), "getuid": (102, 174), "geteuid": (107, 175), "getgid": (104, 176), "getegid": (108, 177),
    "getgroups": (115, 158), "uname": (63, 160), "sysinfo": (99, 179), "getrusage": (98, 165), "getrlimit": (97, 163),
    "getrandom": (318, 278), "getcpu": (309, 168), "umask": (95, 166), "arch_prctl": (158, None),
    "set_tid_address": (218, 96), "set_robust_list": (273, 99), "get_robust_list": (274, 100), "rseq": (334, 293),
    "membarrier": (324, 283), "restart_syscall": (219, 128), "exit": (60, 93), "exit_group": (231, 94),
}  # fmt: skip
_ARCHITECTURES = {"x86_64": (0, 0xC000003E), "aarch64": (1, 0xC00000B7)}
_OPEN, _OPENAT = (2, None), (257, 56)
_WRITES = os.O_ACCMODE | os.O_CREAT | os.O_TRUNC  # Landlock before version 3 lets a file be emptied
_CLONE, _CLONE3, _FCNTL, _IOCTL, _PRCTL, _PRLIMIT = (56, 220), (435, 435), (72, 25), (16, 29), (157, 167), (302, 261)
_CLONE_THREAD = 0x10000
_FCNTL_OWNERS = (8, 10, 15)  # F_SETOWN, F_SETSIG, F_SETOWN_EX: another process would be signalled
_IOCTLS = (0x5401, 0x5413, 0x541B, 0x5421, 0x5450, 0x5451)  # is it a terminal, its size, bytes to read, blocking
_PRCTL_NAMES = (15, 16)  # of threads


def landlock_version() -> int:
    """Return the version of the kernel's Landlock interface; 0 if it has none or may not be used."""
    return max(0, int(_LIBC.syscall(_CREATE_RULESET, None, ctypes.c_size_t(0), 1)))


def never_gain_privileges() -> None:
    """Stop executed programs from gaining rights, which Landlock and seccomp require. Raises OSError."""
    _prctl(_PR_SET_NO_NEW_PRIVS, 1)


def die_with_parent() -> None:
    """Let the kernel kill this process when the thread that started it ends. Raises OSError."""
    _prctl(_PR_SET_PDEATHSIG, 9)


def drop_capabilities() -> None:
    """Drop every capability, so that a root user has no special rights. Raises OSError."""
    header, nothing = struct.pack("=Ii", 0x20080522, 0), bytes(24)
    _check(_LIBC.capset(header, nothing), "capset")


def restrict_files(readable: list[str]) -> None:
    """Allow this process to open only `readable` files and folders, for reading; nothing can be written or executed.

    Connections over TCP and signals out of this process and its children are refused as well where the kernel's
    Landlock knows them. Raises OSError.
    """
    version = landlock_version()
    handled = _FILE_RIGHTS[max(known for known in _FILE_RIGHTS if known <= version)]
    ruleset = _ruleset(handled, 3 if version >= 4 else 0, 3 if version >= 6 else 0, version)
    for path in readable:
        try:
            opened = os.open(path, os.O_PATH | os.O_CLOEXEC)
        except OSError:
            continue
        folder = os.path.isdir(path)
        rule = struct.pack("=Qi", _READ_FILE | _READ_FOLDER if folder else _READ_FILE, opened)
        _check(_LIBC.syscall(_ADD_RULE, ruleset, 1, rule, 0), "landlock_add_rule")
        os.close(opened)
    _enforce(ruleset)


def restrict_signals() -> None:
    """Refuse signals to other processes by Landlock, if the kernel supports that; seccomp refuses them anyway."""
    if landlock_version() >= 6:
        _enforce(_ruleset(0, 0, 3, 6))


def system_call_filter() -> ctypes.Array[ctypes.c_char]:
    """Return the seccomp program for this machine's architecture. Raises OSError for an unknown one."""
    machine = platform.machine()
    if machine not in _ARCHITECTURES:
        raise OSError(errno.ENOSYS, f"no list of system calls for architecture {machine}")
    index, architecture = _ARCHITECTURES[machine]
    code = [_load(4), _jump(architecture, 1, 0), _return(0x80000000), _load(0)]
    for numbers in _CALLS.values():
        if (number := numbers[index]) is not None:
            code += [_jump(number, 0, 1), _return(_ALLOW)]
    code += [_jump(_CLONE3[index], 0, 1), _return(_NO_SUCH_CALL)]  # libc then uses clone, whose flags can be seen
    code += _when(_CLONE[index], [_load(16), _bpf(0x45, 0, 1, _CLONE_THREAD), _return(_ALLOW), _return(_REFUSE)])
    for numbers, place in ((_OPEN, 24), (_OPENAT, 32)):  # where the flags are
        if (number := numbers[index]) is not None:
            code += _when(number, [_load(place), _bpf(0x45, 0, 1, _WRITES), _return(_REFUSE), _return(_ALLOW)])
    code += _when(_FCNTL[index], _arguments(24, _FCNTL_OWNERS, _REFUSE, _ALLOW))
    code += _when(_IOCTL[index], _arguments(24, _IOCTLS, _ALLOW, _REFUSE))
    code += _when(_PRCTL[index], _arguments(16, _PRCTL_NAMES, _ALLOW, _REFUSE))
    code += _when(_PRLIMIT[index], _arguments(16, (0,), _ALLOW, _REFUSE))  # of this process only
    code.append(_return(_REFUSE))
    return ctypes.create_string_buffer(b"".join(code))


def restrict_system_calls(program: ctypes.Array[ctypes.c_char]) -> None:
    """Allow only the system calls of `system_call_filter`; others fail with EPERM. Raises OSError."""
    instructions = (len(program) - 1) // 8  # the buffer ends with a zero byte of its own
    filter_program = struct.pack("@HP", instructions, ctypes.addressof(program))
    _prctl(_PR_SET_SECCOMP, 2, filter_program)


def limit_resources(cpu_seconds: int, memory_bytes: int, processes: int | None) -> None:
    """Limit processor time, address space, open files and the user's threads; forbid files and core dumps."""
    limits = [(resource.RLIMIT_CPU, cpu_seconds), (resource.RLIMIT_AS, memory_bytes), (resource.RLIMIT_FSIZE, 0)]
    limits += [(resource.RLIMIT_NOFILE, 64), (resource.RLIMIT_CORE, 0)]
    if processes is not None:
        limits.append((resource.RLIMIT_NPROC, processes))
    for kind, most in limits:
        hard = resource.getrlimit(kind)[1]
        most = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(kind, (most, most))


def _ruleset(files: int, connections: int, scopes: int, version: int) -> int:
    attribute = struct.pack("=QQQ", files, connections, scopes)[: 8 if version < 4 else 16 if version < 6 else 24]
    ruleset = _LIBC.syscall(_CREATE_RULESET, attribute, ctypes.c_size_t(len(attribute)), 0)
    return int(_check(ruleset, "landlock_create_ruleset"))


def _enforce(ruleset: int) -> None:
    _check(_LIBC.syscall(_RESTRICT_SELF, ruleset, 0), "landlock_restrict_self")
    os.close(ruleset)


def _prctl(option: int, value: object, more: object = 0) -> None:
    _check(_LIBC.prctl(option, value, more, 0, 0), "prctl")


def _check(result: int, what: str) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")
    return result


def _bpf(code: int, then: int, otherwise: int, value: int) -> bytes:
    return struct.pack("=HBBI", code, then, otherwise, value)


def _load(offset: int) -> bytes:
    return _bpf(0x20, 0, 0, offset)


def _jump(value: int, equal: int, other: int) -> bytes:
    return _bpf(0x15, equal, other, value)


def _return(action: int) -> bytes:
    return _bpf(0x06, 0, 0, action)


def _when(number: int, body: list[bytes]) -> list[bytes]:
    """Run `body` for one system call; it has to end in a return, because it overwrites the loaded number."""
    return [_jump(number, 0, len(body)), *body]


def _arguments(offset: int, values: tuple[int, ...], listed: int, others: int) -> list[bytes]:
    """Make instructions that return `listed` if the low word of an argument is in `values`, and else `others`."""
    code = [_load(offset)]
    for value in values:
        code += [_jump(value, 0, 1), _return(listed)]
    return [*code, _return(others)]
