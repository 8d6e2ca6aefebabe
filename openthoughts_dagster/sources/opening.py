"""Files wherever they are: a folder, S3, or any address that fsspec knows; decompressed while they are read."""

import bz2
import glob
import gzip
import io
import lzma
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Any, cast

from openthoughts_dagster.sources.contract import LONGEST_ROW, SourceError

_COMPRESSED = (".gz", ".zst", ".bz2", ".xz")


@dataclass(frozen=True)
class File:
    """A file of a source: its name below the fixed part of the path (the same on every machine), and its version.

    The version moves when the file's content does, as far as its file system says.
    """

    name: str
    version: str
    system: Any
    address: str

    @property
    def format(self) -> str:
        """The ending without that of a compression: jsonl, csv, parquet."""
        suffixes = [suffix for suffix in PurePosixPath(self.name.lower()).suffixes if suffix not in _COMPRESSED]
        return suffixes[-1].removeprefix(".") if suffixes else ""

    def open(self) -> IO[bytes]:
        """The file's bytes, decompressed. A compressed file that ends too early raises when its end is read."""
        raw = cast(IO[bytes], self.system.open(self.address, "rb"))
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


def find_files(where: str, path: str) -> list[File]:
    """The files that `path` stands for, in order of their names. `where` is the setting, for errors.

    Raises SourceError when there is none, or the file system cannot be had.
    """
    try:
        from fsspec.core import url_to_fs

        system, inner = url_to_fs(path)
        found = _names(system, inner)
        files = [File(name, str(system.ukey(address)), system, address) for name, address in found]
    except (ImportError, ValueError) as error:
        raise SourceError(
            f"{where}: {path} cannot be opened: {error}. Reading files needs the `sources` extra, and each protocol "
            "its package: pip install 'openthoughts-dagster[sources]', with s3fs for s3://, gcsfs for gs://"
        ) from error
    except Exception as error:  # each file system has errors of its own
        raise SourceError(
            f"{where}: {path} cannot be listed: {_first_line(error)}; check address and rights"
        ) from error
    if not files:
        if _is_folder(path):
            raise SourceError(f"{where}: {path} is a folder; name its files, as {path.rstrip('/')}/*.jsonl")
        raise SourceError(
            f"{where}: no file at {path}. Relative paths start at the folder of the recipe's file; "
            "what is elsewhere can be named by its address, as s3://bucket/questions.jsonl.gz"
        )
    return files


@contextmanager
def reading(where: str, file: File) -> Iterator[None]:
    """Errors of the disk, the network and the decompression, as SourceError that names the file."""
    try:
        yield
    except SourceError:
        raise
    except EOFError as error:
        raise SourceError(
            f"{where}: {file.address} cannot be read: {error or 'it ends too early'}. It was cut off: copy it again"
        ) from error
    except Exception as error:
        raise SourceError(f"{where}: {file.address} cannot be read: {_first_line(error)}") from error


def lines(stream: IO[bytes], longest: int = LONGEST_ROW) -> Iterator[tuple[bytes, bool]]:
    """Lines of a stream, and whether each is whole: of one longer than `longest` bytes only the start is kept."""
    reader = stream if isinstance(stream, io.BufferedIOBase) else io.BufferedReader(cast(Any, stream))
    while line := reader.readline(longest + 1):
        if len(line) <= longest or line.endswith(b"\n"):
            yield line, True
            continue
        while (rest := reader.readline(longest)) and not rest.endswith(b"\n"):
            pass
        yield line[:longest], False


def _names(system: Any, path: str) -> list[tuple[str, str]]:
    """Name and address of each file."""
    if system.isfile(path):  # also a file whose name has the characters of a glob
        return [(PurePosixPath(path).name, path)]
    if not glob.has_magic(path):
        return []
    parts = PurePosixPath(path).parts
    root = PurePosixPath(*parts[: next(index for index, part in enumerate(parts) if glob.has_magic(part))])
    found = sorted(str(name) for name in system.glob(path))
    base = f"{str(root).rstrip('/')}/"
    return [(address.removeprefix(base), address) for address in found if system.isfile(address)]


def _is_folder(path: str) -> bool:
    return "://" not in path and Path(path).is_dir()


def _first_line(error: BaseException) -> str:
    return f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}"
