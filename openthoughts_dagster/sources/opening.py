"""Finding and opening files in a folder, in S3, or at any address that fsspec knows. They are decompressed as read."""

import bz2
import codecs
import glob
import gzip
import io
import lzma
import os
import re
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Any, cast

from openthoughts_dagster.lake.credentials import without_credentials
from openthoughts_dagster.sources.confined import open_inside
from openthoughts_dagster.sources.contract import LONGEST_ROW, SourceError
from openthoughts_dagster.storage import local_path, open_file_system

_COMPRESSED = (".gz", ".zst", ".bz2", ".xz")


@dataclass(frozen=True)
class File:
    """A file of a source.

    Attributes:
        name: The path of the file below the fixed part of the source's path, the same on every machine.
        version: Changes when the content of the file does, as far as its file system says.
        system: The fsspec file system.
        address: The path of the file in its file system.
        folder: The local folder that the file must lie in; None when it may lie anywhere.
    """

    name: str
    version: str
    system: Any
    address: str
    folder: Path | None = None

    @property
    def shown(self) -> str:
        """The address for messages, without passwords and signatures."""
        return without_credentials(self.address)

    @property
    def format(self) -> str:
        """The ending of the name, such as jsonl, csv or parquet, without that of a compression."""
        suffixes = [suffix for suffix in PurePosixPath(self.name.lower()).suffixes if suffix not in _COMPRESSED]
        return suffixes[-1].removeprefix(".") if suffixes else ""

    def open(self) -> IO[bytes]:
        """Open the file, decompressed. A compressed file that ends too early raises when its end is read."""
        raw = self.open_raw()
        ending = PurePosixPath(self.name.lower()).suffix
        if ending == ".gz":
            return cast(IO[bytes], gzip.GzipFile(fileobj=raw, mode="rb"))
        if ending == ".bz2":
            return bz2.BZ2File(raw)
        if ending == ".xz":
            return lzma.LZMAFile(raw)
        if ending == ".zst":
            if sys.version_info >= (3, 14):
                from compression.zstd import ZstdFile
            else:
                from backports.zstd import ZstdFile
            return cast(IO[bytes], ZstdFile(raw))
        return raw

    def open_raw(self) -> IO[bytes]:
        """Open the file as it is stored. A file that has to lie in a folder is opened without following links."""
        if self.folder is not None:
            return open_inside(self.folder, PurePosixPath(self.address).relative_to(self.folder).as_posix())
        return cast(IO[bytes], self.system.open(self.address, "rb"))


def find_files(where: str, path: str, confined_to: str | None = None) -> list[File]:
    """Find the files that a path names.

    Args:
        where: The name of the setting, for errors.
        path: A file, a glob, or an address.
        confined_to: A folder or an address. All files have to lie below it, and no link is followed.

    Returns:
        The files, sorted by name.

    Raises:
        SourceError: There is no file, or the file system cannot be opened.
    """
    try:
        system, inner = open_file_system(path)
        folder = None if confined_to is None else local_path(confined_to)
        if folder is not None:
            found = _list_files_inside(where, folder, local_path(path) or Path(inner))
        else:
            found = _list_files(system, inner)
            if confined_to is not None:
                root = f"{open_file_system(confined_to)[1].rstrip('/')}/"
                found = [(name, address) for name, address in found if address.startswith(root)]
        files = [File(name, str(system.ukey(address)), system, address, folder) for name, address in found]
    except SourceError:
        raise
    except (ImportError, ValueError) as error:
        raise SourceError(
            f"{where}: {without_credentials(path)} cannot be opened: {without_credentials(error)}. Reading files needs "
            "the `sources` extra, and each protocol its package: pip install 'openthoughts-dagster[sources]', with "
            "s3fs for s3://, gcsfs for gs://"
        ) from _cause(error, path)
    except Exception as error:  # file systems share no error class
        raise SourceError(
            f"{where}: {without_credentials(path)} cannot be listed: {without_credentials(_first_line(error))}; check "
            "address and rights"
        ) from _cause(error, path)
    if not files:
        if _is_folder(path):
            raise SourceError(f"{where}: {path} is a folder; name its files, as {path.rstrip('/')}/*.jsonl")
        raise SourceError(
            f"{where}: no file at {without_credentials(path)}. Relative paths start at the recipe's folder; "
            "what is elsewhere can be named by its address, as s3://bucket/questions.jsonl.gz"
        )
    return files


def file_name(address: str) -> str:
    """Return the name of a file at a path or an address, without the query that an address may have."""
    return PurePosixPath(address.partition("?")[0] if "://" in address else address).name


@contextmanager
def reading(where: str, file: File) -> Iterator[None]:
    """Turn errors of the disk, the network and the decompression into a SourceError that names the file."""
    try:
        yield
    except SourceError:
        raise
    except EOFError as error:
        raise SourceError(
            f"{where}: {file.shown} cannot be read: {error or 'it ends too early'}. It was cut off: copy it again"
        ) from error
    except Exception as error:
        if "too much memory" in str(error):  # zstd's own words
            raise SourceError(
                f"{where}: {file.shown} was compressed with a window that takes up to 2 GiB of memory to read (zstd "
                "--long): compress it again without, zstd -d --long=31 FILE, then zstd"
            ) from error
        says = without_credentials(_first_line(error))
        raise SourceError(f"{where}: {file.shown} cannot be read: {says}") from _cause(error, file.address)


def utf8_stream(stream: IO[bytes]) -> io.BufferedReader:
    """Open a stream of UTF-8 and pass over its byte-order mark. Raises UnicodeError for UTF-16 and UTF-32."""
    reader = io.BufferedReader(cast(Any, stream))
    start = reader.peek(4)[:4]
    if start.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE, codecs.BOM_UTF32_BE)):
        raise UnicodeError("it is UTF-16 or UTF-32: write it again as UTF-8, e.g. iconv -f UTF-16 -t UTF-8 FILE")
    if start.startswith(codecs.BOM_UTF8):
        reader.read(len(codecs.BOM_UTF8))
    return reader


def lines(stream: IO[bytes], longest: int = LONGEST_ROW) -> Iterator[tuple[bytes, bool]]:
    """Yield the lines of a stream, and whether each is whole. Of a line over `longest` bytes only the start is kept."""
    reader = stream if isinstance(stream, io.BufferedIOBase) else io.BufferedReader(cast(Any, stream))
    while line := reader.readline(longest + 1):
        if len(line) <= longest or line.endswith(b"\n"):
            yield line, True
            continue
        while (rest := reader.readline(longest)) and not rest.endswith(b"\n"):
            pass
        yield line[:longest], False


def _list_files(system: Any, path: str) -> list[tuple[str, str]]:
    """List the name and the address of each file."""
    if system.isfile(path):  # the name of a file may contain the characters of a glob
        return [(file_name(path), path)]
    if not glob.has_magic(path):
        return []
    parts = PurePosixPath(path).parts
    root = PurePosixPath(*parts[: next(index for index, part in enumerate(parts) if glob.has_magic(part))])
    found = sorted(str(name) for name in system.glob(path))
    base = f"{str(root).rstrip('/')}/"
    return [(address.removeprefix(base), address) for address in found if system.isfile(address)]


def _list_files_inside(where: str, folder: Path, path: Path) -> list[tuple[str, str]]:
    """List the name and the address of each regular file of `folder` that `path` names. Links are refused."""
    from fsspec.utils import glob_translate

    pattern = path.relative_to(folder).as_posix()
    matching = re.compile(glob_translate(pattern)) if glob.has_magic(pattern) else None
    fixed = PurePosixPath(pattern).parts
    start = next((i for i, part in enumerate(fixed) if glob.has_magic(part)), len(fixed) - 1)
    base = "".join(f"{part}/" for part in fixed[:start])
    found: list[tuple[str, str]] = []
    for at, folders, files in os.walk(folder, followlinks=False):
        for name in [*files, *folders]:
            address = f"{at}/{name}"
            below = os.path.relpath(address, folder)
            if not (below == pattern or (matching and matching.match(below))):
                continue
            kind = os.lstat(address).st_mode
            if stat.S_ISLNK(kind):
                raise SourceError(f"{where}: {below} is a symbolic link, which may lead elsewhere: copy the file")
            if stat.S_ISREG(kind):
                found.append((below.removeprefix(base), address))
    return sorted(found, key=lambda entry: entry[1])


def _is_folder(path: str) -> bool:
    return "://" not in path and Path(path).is_dir()


def _cause(error: BaseException, address: str) -> BaseException | None:
    """Return the cause of an error to show, which is none where the address has a password: causes may repeat it."""
    return error if without_credentials(address) == address else None


def _first_line(error: BaseException) -> str:
    return f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}"
