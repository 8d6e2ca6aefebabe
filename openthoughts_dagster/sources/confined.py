"""Files that must lie in one folder: looked up and opened without following a link, however the folder changes."""

import os
import stat
from pathlib import Path, PurePosixPath
from typing import IO, cast


def open_inside(folder: Path, file: str) -> IO[bytes]:
    """Open a regular file below `folder`, `file` being its path there.

    Every step of the path is opened by itself and without following links, so that a file which was checked and then
    swapped for a link is not read. A FIFO or a device is refused and never waited for.

    Raises:
        OSError: The file is not there, is no regular file, or a part of its path is a link or leads out.
    """
    parts = PurePosixPath(file).parts
    if not parts or ".." in parts or PurePosixPath(file).is_absolute():
        raise OSError(0, f"{file!r} does not lie in its folder")
    current = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        for part in parts[:-1]:
            following = os.open(part, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=current)
            os.close(current)
            current = following
        opened = os.open(parts[-1], os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=current)
    finally:
        os.close(current)
    if not stat.S_ISREG(os.fstat(opened).st_mode):
        os.close(opened)
        raise OSError(0, f"{file!r} is no regular file")
    return cast(IO[bytes], os.fdopen(opened, "rb"))
