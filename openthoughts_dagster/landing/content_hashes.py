"""Content hashes of files on this machine, computed over several looks, because a look of the sensor has one minute."""

import hashlib
import os
import time
from collections.abc import Callable, Iterator
from typing import IO

from openthoughts_dagster.landing.landed_files import Files, Stamp, make_stamp

_LARGEST_READ_WHOLE = 2**30  # bytes; of a larger file only blocks are read
_BLOCK, _BLOCKS = 2**20, 64  # bytes of one block of a large file, and how many blocks are read
_STEP = 2**23  # bytes of a smaller file that are read at once
_MOST_REMEMBERED = 100_000  # hashes of the files of accepted sources


class ContentNotKnown(Exception):
    """The content of a file is not known yet. The message says why."""


class ContentHashes:
    """Hashes files for a bounded time, and goes on at the next look where it stopped.

    A finished hash is kept while the stamp of its file stays the same. The progress is in memory: a code server that is
    started again begins anew with a source that is not accepted yet.

    Args:
        seconds: How long files are hashed after `begin_look`. At least one block is read at each look.
        clock: Returns the present time in seconds.
    """

    def __init__(self, seconds: float = 20.0, clock: Callable[[], float] = time.monotonic) -> None:
        self._seconds, self._clock = seconds, clock
        self._deadline, self._has_read = 0.0, False
        self._hashed: dict[str, dict[str, tuple[Stamp, str]]] = {}  # by source and path
        self._started: dict[tuple[str, str], _StartedFile] = {}
        self._accepted: dict[str, None] = {}  # sources in the order in which they were accepted

    def begin_look(self) -> None:
        """Start the time of a look. Listing the files is a part of it."""
        self._deadline, self._has_read = self._clock() + self._seconds, False

    def is_time_over(self) -> bool:
        """Whether the time of the look is over."""
        return self._clock() > self._deadline

    def hash_file(self, source: str, path: str, stamp: Stamp, open_file: Callable[[], IO[bytes]]) -> str:
        """Hash the content of a file, of one over a gigabyte only 64 blocks and the stamp.

        Args:
            source: The source that reads the file.
            path: The path of the file.
            stamp: Its state when it was listed.
            open_file: Opens it.

        Returns:
            The hash. Equal hashes mean equal contents, for a file over a gigabyte as far as its blocks say.

        Raises:
            ContentNotKnown: The time of the look is over, or the file changed after it was listed.
            OSError: The file cannot be read.
        """
        hashed = self._hashed.setdefault(source, {})
        if path in hashed and hashed[path][0] == stamp:
            return hashed[path][1]
        # The progress is taken away while it is used: a look that Dagster gave up may still run beside this one.
        started = self._started.pop((source, path), None)
        if started is None or started.stamp != stamp:
            started = _StartedFile(stamp)
        if self._must_stop() or not self._read_blocks(started, open_file):
            self._started[(source, path)] = started
            raise ContentNotKnown("its files are still being read")
        hashed[path] = (stamp, started.finish())
        return hashed[path][1]

    def count_bytes(self, source: str) -> int:
        """Return the size of those files of a source that are hashed, and of the parts of others that are read."""
        read = sum(started.bytes for (name, _), started in self._started.items() if name == source)
        return read + sum(stamp.size for stamp, _ in self._hashed.get(source, {}).values())

    def keep_only(self, source: str, files: Files) -> None:
        """Begin to hash a source: forget the hashes of files that it has no more, or that changed since."""
        hashed = self._hashed.get(source, {})
        self._hashed[source] = {path: known for path, known in hashed.items() if files.get(path) == known[0]}
        for key in [key for key in self._started if key[0] == source and key[1] not in files]:
            del self._started[key]
        self._accepted.pop(source, None)

    def mark_accepted(self, source: str) -> None:
        """Note that a source is accepted, so that its hashes may be forgotten when there are too many.

        Hashes of a source that is not accepted yet are kept, however many they are, so that it is accepted one day.
        """
        self._accepted.pop(source, None)
        self._accepted[source] = None
        while self._accepted and sum(map(len, self._hashed.values())) > _MOST_REMEMBERED:
            oldest = next(iter(self._accepted))
            del self._accepted[oldest]
            self._hashed.pop(oldest, None)

    def _must_stop(self) -> bool:
        return self._has_read and self.is_time_over()

    def _read_blocks(self, started: "_StartedFile", open_file: Callable[[], IO[bytes]]) -> bool:
        """Hash the blocks that are left while there is time. Returns whether none is left.

        Raises ContentNotKnown when the file is no longer as it was listed.
        """
        with open_file() as file:
            for start, length in started.remaining_blocks():
                if self._must_stop():
                    return False
                file.seek(start)
                started.add_block(file.read(length))
                self._has_read = True
            self._has_read = True  # opening a file takes time as well
            if make_stamp(os.fstat(file.fileno()), started.stamp.link) != started.stamp:
                raise ContentNotKnown("a file of it changed while it was read")
        return True


class _StartedFile:
    """A file of which some blocks are hashed. The hash is the same as earlier versions of this program computed."""

    def __init__(self, stamp: Stamp) -> None:
        self.stamp, self.blocks, self.bytes = stamp, 0, 0
        self._is_large = stamp.size > _LARGEST_READ_WHOLE
        self._digest = hashlib.blake2b(digest_size=16)
        if self._is_large:  # not all of its bytes are read, so its times count
            self._digest = hashlib.blake2b(str(stamp.size).encode() + stamp.token.encode(), digest_size=16)

    def remaining_blocks(self) -> Iterator[tuple[int, int]]:
        """Yield the position and the length of each block that is not hashed yet."""
        size = self.stamp.size
        if self._is_large:
            return ((number * (size - _BLOCK) // (_BLOCKS - 1), _BLOCK) for number in range(self.blocks, _BLOCKS))
        return ((start, min(_STEP, size - start)) for start in range(self.blocks * _STEP, size, _STEP))

    def add_block(self, block: bytes) -> None:
        """Hash the next block."""
        self._digest.update(block)
        self.blocks, self.bytes = self.blocks + 1, self.bytes + len(block)

    def finish(self) -> str:
        """Return the hash of the whole file."""
        if self._is_large:
            return self._digest.hexdigest()
        return hashlib.blake2b(str(self.stamp.size).encode() + self._digest.digest(), digest_size=16).hexdigest()
