"""The files of a landed source: their states, and why none of them may be read."""

import os
from collections.abc import Iterable
from dataclasses import dataclass

from openthoughts_dagster.lake import text_hash
from openthoughts_dagster.lake.unicode import has_lone_surrogate

Files = dict[str, "Stamp"]

MANIFEST = "source.yaml"
MOST_FILES = 10_000  # of one source
_DATA = (".jsonl", ".ndjson", ".json", ".csv", ".tsv", ".parquet", ".pdf", ".7z", ".zip", ".gz", ".zst", MANIFEST)


class LandingError(RuntimeError):
    """A landing zone cannot be read or written. The message says which one, why, and what to do."""


@dataclass(frozen=True)
class Stamp:
    """The state of a file, known without reading it. It changes whenever the file does.

    Attributes:
        token: Identifies the state: times and inode of a local file, or the checksum of an object.
        size: The size in bytes.
        link: Whether the file is a symbolic link.
    """

    token: str
    size: int
    link: bool = False


def make_stamp(status: os.stat_result, link: bool) -> Stamp:
    """Make the stamp of a file of this machine from its status.

    The token holds the time of change (ctime) too: a program can set back the modification time, but not this one.
    """
    return Stamp(f"{status.st_ino}:{status.st_mtime_ns}:{status.st_ctime_ns}", status.st_size, link)


@dataclass(frozen=True)
class LandedFolder:
    """The folder of one source.

    Attributes:
        files: The state of each file by its path in the folder.
        problem: Why none of the files may be read; empty when they may.
    """

    files: Files
    problem: str = ""


def report_loose_files(names: Iterable[str]) -> dict[str, LandedFolder]:
    """Report data files that are beside the folders of sources and not in one. Other files, such as a README, are fine.

    Args:
        names: The files at the top of a landing zone.
    """
    problem = (
        f"is a file beside the folders of sources, and is not read: put it into a folder of its own, with {MANIFEST}"
    )
    return {escape_name(name): LandedFolder({}, problem) for name in sorted(names) if name.lower().endswith(_DATA)}


def signature(files: Files) -> str:
    """Hash the states of all files, without reading them."""
    return text_hash(*(f"{name}\0{stamp.token}\0{stamp.size}" for name, stamp in sorted(files.items())))


def find_problem(files: Files) -> str:
    """Say why the files of a source may not be read, or return an empty text when they may."""
    if len(files) > MOST_FILES:
        return f"has more than {MOST_FILES:,} files: pack them into fewer"
    if odd := next((name for name in files if has_lone_surrogate(name)), None):
        return f"has a file whose name is not UTF-8, {escape_name(odd)}: rename it"
    return ""


def escape_name(name: str) -> str:
    """Escape the bytes of a file's name that are not UTF-8, so that a table can hold the name."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
