"""Locks on files, for processes of one machine or of machines that share a disk."""

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def hold_file(path: Path, waiting: Callable[[], None] = lambda: None) -> Iterator[None]:
    """Hold the lock on `path` inside the block. The lock ends when the process ends.

    Args:
        path: The lock's file. It is made with its folder, and deleted after the block.
        waiting: Called once if another process holds the lock. If it returns, the lock is waited for; if it raises,
            its error is raised.

    Raises:
        OSError: The file cannot be made.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    said = False
    while True:
        lock = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if not said:
                    said = True
                    waiting()
                fcntl.flock(lock, fcntl.LOCK_EX)
            if not _is_file_at(lock, path):
                continue  # the process that held it deleted the file, and a third process may hold a new one
            try:
                yield
            finally:
                path.unlink(missing_ok=True)
            return
        finally:
            os.close(lock)


def _is_file_at(lock: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(lock), path.stat())
    except FileNotFoundError:
        return False
