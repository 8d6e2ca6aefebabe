"""Opening files that must lie in one folder. No link is followed, even when the folder changes meanwhile."""

import os
import stat
from pathlib import Path, PurePosixPath
from typing import IO, cast


def open_inside(folder: Path, file: str) -> IO[bytes]:
    """Open a regular file below a folder for reading.

    Each part of the path is opened by itself and without following links, so that a file which was checked and then
    replaced by a link is not read. A FIFO or a device is refused without waiting for it.

    Args:
        folder: The folder.
        file: The path of the file in the folder.

    Returns:
        The open file, in binary mode.

    Raises:
        OSError: The file is not there, is no regular file, or a part of its path is a link or leads out of the folder.
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
