"""A landing zone that is a folder of this machine."""

import os
import shutil
import stat
from collections.abc import Collection, Mapping
from pathlib import Path

from openthoughts_dagster.lake.unicode import has_lone_surrogate
from openthoughts_dagster.landing.content_hashes import ContentHashes
from openthoughts_dagster.landing.landed_files import (
    MOST_FILES,
    Files,
    LandedFolder,
    LandingError,
    Stamp,
    escape_name,
    find_problem,
    make_stamp,
    report_loose_files,
)
from openthoughts_dagster.sources.confined import open_inside

_DEEPEST = 20  # levels of folders below the folder of a source
_MOST_SOURCES = 100_000


class FolderZone:
    """A landing zone in a folder. A file is read again when its times changed, and is new when its content did."""

    def __init__(self, address: str) -> None:
        self.address = address

    def scan(self) -> dict[str, LandedFolder]:
        try:
            with os.scandir(self.address) as entries:
                shown = sorted((entry for entry in entries if entry.name[0] != "."), key=lambda entry: entry.name)
                folders = [entry for entry in shown if _is_folder(entry)]
        except OSError as error:
            raise self._unreachable(error) from error
        found = {escape_name(folder.name): _list_landed_folder(folder) for folder in folders[:_MOST_SOURCES]}
        return report_loose_files({entry.name for entry in shown} - {entry.name for entry in folders}) | found

    def read(self, name: str, file: str, most: int) -> bytes:
        try:
            with open_inside(Path(self.address) / name, file) as opened:
                return opened.read(most)
        except OSError as error:
            raise LandingError(f"{file} cannot be read: {error.strerror}") from error

    def content(self, name: str, file: str, stamp: Stamp, hashes: ContentHashes) -> str:
        try:
            return hashes.hash_file(name, file, stamp, lambda: open_inside(Path(self.address) / name, file))
        except OSError as error:
            raise LandingError(f"{file} cannot be read: {error.strerror}") from error

    def write(self, name: str, files: Mapping[str, Path | bytes]) -> None:
        folder = Path(self.address) / name
        try:
            folder.mkdir(parents=True, exist_ok=True)
            for file, content in files.items():
                if isinstance(content, Path):
                    shutil.copyfile(content, folder / file)
                else:
                    (folder / file).write_bytes(content)
        except OSError as error:
            raise LandingError(f"the landing zone {self.address} cannot be written: {error}") from error

    def remove(self, name: str, files: Collection[str]) -> None:
        try:
            for file in files:
                (Path(self.address) / name / file).unlink(missing_ok=True)
        except OSError as error:
            raise LandingError(f"the landing zone {self.address} cannot be written: {error}") from error

    def _unreachable(self, error: OSError) -> LandingError:
        return LandingError(
            f"the landing zone {self.address} cannot be read: {error}; see that it is there and mounted"
        )


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:
        return entry.is_symlink()  # the link leads to itself, or to a place that this process may not read


def _list_landed_folder(folder: os.DirEntry[str]) -> LandedFolder:
    """List the regular files of a source's folder. A problem with this folder is noted in the result, never raised."""
    if has_lone_surrogate(folder.name):
        return LandedFolder({}, "the folder's name is not UTF-8: rename it")
    if folder.is_symlink():
        return LandedFolder({}, "is a symbolic link, which may lead elsewhere: copy the folder itself")
    files: Files = {}
    waiting = [(folder.path, "", 0)]
    while waiting:
        path, below, depth = waiting.pop()
        try:
            with os.scandir(path) as entries:
                for entry in entries:
                    try:
                        status = entry.stat(follow_symlinks=False)
                    except FileNotFoundError:
                        continue  # an upload has just renamed the file
                    if stat.S_ISDIR(status.st_mode):
                        if depth == _DEEPEST:
                            return LandedFolder(files, f"has folders more than {_DEEPEST} levels deep: flatten it")
                        waiting.append((entry.path, f"{below}{entry.name}/", depth + 1))
                    elif stat.S_ISREG(status.st_mode) or stat.S_ISLNK(status.st_mode):
                        files[f"{below}{entry.name}"] = make_stamp(status, stat.S_ISLNK(status.st_mode))
                    else:
                        return LandedFolder(files, f"{below}{entry.name} is no regular file: remove it")
                    if len(files) > MOST_FILES:
                        return LandedFolder(files, find_problem(files))
        except FileNotFoundError:
            continue  # an upload has just renamed the folder
        except OSError as error:
            return LandedFolder(files, f"{below or 'its folder'} cannot be read: {error.strerror}; grant permission")
    return LandedFolder(files, find_problem(files))
