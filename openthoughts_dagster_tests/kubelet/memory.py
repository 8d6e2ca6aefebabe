"""How much memory a process and its children hold, for want of cgroups: what an OOM killer would look at."""

import os
import threading
import time
from collections import defaultdict
from pathlib import Path

_LOCK = threading.Lock()
_SCANNED: tuple[float, dict[int, list[int]]] = (0.0, {})
_PAGE = os.sysconf("SC_PAGE_SIZE")


def tree_memory(pid: int) -> int:
    """Bytes of anonymous memory of the process and all that it started."""
    children, total, todo = _children(), 0, [pid]
    while todo:
        one = todo.pop()
        todo += children.get(one, [])
        try:
            resident, shared = (Path(f"/proc/{one}/statm").read_text().split())[1:3]
        except OSError:
            continue
        total += (int(resident) - int(shared)) * _PAGE
    return total


def _children() -> dict[int, list[int]]:
    """The children of every process, at most a second old."""
    global _SCANNED
    with _LOCK:
        if time.monotonic() - _SCANNED[0] > 1:
            found = defaultdict(list)
            for entry in os.scandir("/proc"):
                if entry.name.isdigit():
                    try:
                        parent = int(Path(entry.path, "stat").read_text().rpartition(")")[2].split()[1])
                    except OSError:
                        continue
                    found[parent].append(int(entry.name))
            _SCANNED = (time.monotonic(), dict(found))
        return _SCANNED[1]
