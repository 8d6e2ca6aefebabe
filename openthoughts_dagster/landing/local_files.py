"""The state and the content hash of files on this machine."""

import hashlib
import os
from functools import lru_cache
from pathlib import Path
from typing import IO

from openthoughts_dagster.landing.landed_files import Stamp

_LARGEST_READ_WHOLE = 2**30  # bytes; of a larger file only blocks are read
_BLOCK, _BLOCKS = 2**20, 64  # bytes of one block, and how many blocks are read


def stamp_of(path: Path) -> Stamp:
    """Return the state of a local file. A link is followed."""
    return make_stamp(path.stat(), link=False)


@lru_cache(maxsize=100_000)
def file_content(path: str, stamp: Stamp) -> str:
    """Hash the content of a local file. The result is cached while the file's stamp stays the same.

    Of a file over one gigabyte only 64 blocks are read, and the hash includes the stamp: a sensor has one minute.
    """
    with open(path, "rb") as file:  # noqa: PTH123 - the path is absolute already
        return hash_content(file, stamp)


def hash_content(file: IO[bytes], stamp: Stamp) -> str:
    """Hash the content of an open file, of a large one only blocks and its stamp."""
    digest = hashlib.blake2b(str(stamp.size).encode(), digest_size=16)
    if stamp.size <= _LARGEST_READ_WHOLE:
        digest.update(hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).digest())  # type: ignore[arg-type]
        return digest.hexdigest()
    digest.update(stamp.token.encode())
    for block in range(_BLOCKS):
        file.seek(block * (stamp.size - _BLOCK) // (_BLOCKS - 1))
        digest.update(file.read(_BLOCK))
    return digest.hexdigest()


def make_stamp(status: os.stat_result, link: bool) -> Stamp:
    """Make the stamp of a file from its status.

    The token holds the time of change (ctime) too: a program can set back the modification time, but not this one.
    """
    return Stamp(f"{status.st_ino}:{status.st_mtime_ns}:{status.st_ctime_ns}", status.st_size, link)
