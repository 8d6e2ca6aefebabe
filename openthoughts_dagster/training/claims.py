"""Claims in an object store that let one run at a time train a student. In a folder a locked file does this.

A claim only saves work. If two runs train a student nevertheless, because the store did not answer for minutes, the
student that is finished first stays.
"""

import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from openthoughts_dagster.storage import StorageError, join_address
from openthoughts_dagster.storage.addresses import open_address

RENEW_SECONDS = 10.0
STALE_SECONDS = 60.0
"""A claim that nobody renewed for so long is taken over: its owner was killed."""


@contextmanager
def hold_claim(address: str, waiting: Callable[[], None]) -> Iterator[None]:
    """Hold the claim at an address in an object store inside the block; call `waiting` once if another run holds it.

    A claim is a numbered object that its owner renews regularly. To take over a claim, a run creates the object with
    the next number, which the store allows only once. Raises StorageError.
    """
    number = _acquire_claim(address, waiting)
    ended = threading.Event()

    def renew() -> None:
        while not ended.wait(RENEW_SECONDS):
            with suppress(StorageError), open_address(address, "written") as (system, root):
                system.pipe_file(f"{root}/{number}", uuid.uuid4().bytes)

    renewing = threading.Thread(target=renew, daemon=True)
    renewing.start()
    try:
        yield
    finally:
        ended.set()
        renewing.join()
        with suppress(StorageError), open_address(address, "deleted") as (system, root):
            for old in range(1, number + 1):
                with suppress(FileNotFoundError):
                    system.rm_file(f"{root}/{old}")


def _acquire_claim(address: str, waiting: Callable[[], None]) -> int:
    known, since, said = (0, b""), time.monotonic(), False
    while True:
        newest = _newest_claim(address)
        if newest != known:
            known, since = newest, time.monotonic()
        if not newest[0] or time.monotonic() - since > STALE_SECONDS:
            if _try_create(join_address(address, str(newest[0] + 1))):
                return newest[0] + 1
            continue
        if not said:
            said = True
            waiting()
        time.sleep(min(2.0, STALE_SECONDS / 4))


def _newest_claim(address: str) -> tuple[int, bytes]:
    """Return the number of the current claim, 0 if there is none, and what its owner wrote last."""
    with open_address(address, "read") as (system, root):
        system.invalidate_cache(root)
        try:
            numbers = [int(path.rpartition("/")[2]) for path in system.find(root)]
            number = max(numbers, default=0)
            return (number, bytes(system.cat_file(f"{root}/{number}"))) if number else (0, b"")
        except FileNotFoundError:
            return 0, b""


def _try_create(address: str) -> bool:
    with open_address(address, "written") as (system, path):
        options: dict[str, Any] = {"mode": "create"}
        try:
            system.pipe_file(path, uuid.uuid4().bytes, **options)
        except FileExistsError:
            return False
        return True
