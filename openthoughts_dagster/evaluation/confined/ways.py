"""The ways to confine programs on this machine, the best one first."""

import importlib.util
import json
import shutil
import subprocess
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal

Way = Literal["bubblewrap", "landlock", "seccomp", "none"]

# Packages that programs may import beside the standard library, where they are installed.
_PACKAGES = ("numpy",)
_SYSTEM = ("/lib", "/lib64", "/usr/lib", "/usr/lib64", "/usr/local/lib", "/etc/ld.so.cache", "/usr/share/zoneinfo")
_DEVICES = ("/dev/null", "/dev/urandom")
NOBODY = 65534


@dataclass(frozen=True)
class Interpreter:
    """A Python that runs programs.

    Attributes:
        executable: Its path.
        readable: Files and folders that it needs: its own library and those of the system.
        packages: Folders of importable packages, by name.
        user: The user that runs the confined process; None for the user of this process.
    """

    executable: str
    readable: tuple[str, ...]
    packages: tuple[tuple[str, str], ...] = ()
    user: int | None = None

    @staticmethod
    def of(executable: str, user: int | None = None) -> "Interpreter":
        """Return the interpreter at a path; it has this process's packages if it is the same one."""
        code = (
            "import json, sys, sysconfig; p = sysconfig.get_paths(); print(json.dumps([p['stdlib'], p['platstdlib']]))"
        )
        asked = subprocess.run([executable, "-I", "-S", "-c", code], capture_output=True, check=True, text=True)
        own = executable == own_executable()
        packages = tuple((name, folder) for name in _PACKAGES if own and (folder := _package_folder(name)))
        folders = [path for _, folder in packages for path in (folder, f"{folder}.libs")]
        libraries = [str(Path(path).parent) for path in json.loads(asked.stdout)]  # libpython stands beside the library
        readable = dict.fromkeys(path for path in (*libraries, *folders, *_SYSTEM, *_DEVICES) if Path(path).exists())
        return Interpreter(executable, tuple(readable), packages, user)


@cache
def own_interpreter() -> Interpreter:
    """Return the Python of this process without its virtual environment."""
    return Interpreter.of(own_executable())


def own_executable() -> str:
    """Return the path of the Python from which this process's environment was made."""
    return str(getattr(sys, "_base_executable", None) or sys.executable)


def command(way: Way, interpreter: Interpreter, code: str) -> list[str]:
    """Return the command that starts an interpreter on `code`, the confinement's own source, in one way."""
    python = [interpreter.executable, "-I", "-S", "-B", "-X", "utf8", "-c", code]
    if way != "bubblewrap":
        return python
    places = [part for path in (*interpreter.readable, interpreter.executable) for part in _bound(path)]
    flags = ["--unshare-all", "--new-session", "--clearenv", "--cap-drop", "ALL"]
    if interpreter.user is None:
        flags += ["--uid", str(NOBODY), "--gid", str(NOBODY)]
    return ["bwrap", *flags, *places, "--remount-ro", "/", "--chdir", "/", "--", *python]


def possible_ways() -> list[Way]:
    """Return the ways to try here, the best one first; only a trial shows whether one works."""
    ways: list[Way] = ["bubblewrap"] if shutil.which("bwrap") else []
    return [*ways, "landlock"]


def readable_by_nobody(paths: tuple[str, ...]) -> bool:
    """Return whether a user without rights can read all `paths`, so that root's programs can run as nobody."""
    for path in map(Path, paths):
        if not path.stat().st_mode & 0o004 or any(not folder.stat().st_mode & 0o001 for folder in path.parents):
            return False
    return True


def _bound(path: str) -> list[str]:
    kind = "--dev-bind" if path.startswith("/dev/") else "--ro-bind"
    return [kind, path, path]


def _package_folder(name: str) -> str | None:
    found = importlib.util.find_spec(name)
    return str(Path(found.origin).parent) if found is not None and found.origin else None
