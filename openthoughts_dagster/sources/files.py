"""JSON Lines files, plain or compressed with gzip."""

import glob
import gzip
import json
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, cast

from openthoughts_dagster.recipe import FilesSource
from openthoughts_dagster.sources.normalize import Row, SourceError

_EVIDENCE = 200


def read_files(source: FilesSource, path: str) -> Iterator[Row]:
    """The rows of the files that `path`, a file or a glob, stands for; blank lines are no rows.

    A line that is no JSON object is a row with a problem, and the rest goes on. Raises SourceError when no file is
    there, or a file cannot be read.
    """
    for file, name in _files(source, path):
        try:
            with _open(file) as lines:
                for number, line in enumerate(lines, 1):
                    text = line.removeprefix(b"\xef\xbb\xbf") if number == 1 else line
                    if text.strip():
                        yield _row(text, {"file": name, "line": number})
        except (OSError, EOFError, zlib.error) as error:
            raise SourceError(f"sources.{source.name}.path: {file} cannot be read: {error}") from error


def _files(source: FilesSource, path: str) -> list[tuple[Path, str]]:
    """The files in order, each with its name below the fixed part of the glob: the same on every machine."""
    if Path(path).is_file():  # also a file whose name has the characters of a glob
        return [(Path(path), Path(path).name)]
    parts = Path(path).parts
    fixed = next((index for index, part in enumerate(parts) if glob.has_magic(part)), len(parts))
    root, pattern = Path(*parts[:fixed]), str(Path(*parts[fixed:]))
    names = sorted(glob.glob(pattern, root_dir=root, recursive=True)) if fixed < len(parts) else []  # noqa: PTH207 - Path.glob takes no absolute pattern
    files = [(root / name, Path(name).as_posix()) for name in names if (root / name).is_file()]
    if not files:
        if Path(path).is_dir():
            raise SourceError(f"sources.{source.name}.path: {path} is a folder; name its files, as {path}/*.jsonl")
        raise SourceError(
            f"sources.{source.name}.path: no file at {path}. Relative paths start at the folder of the recipe's file; "
            "what is on the network has to be fetched first"
        )
    return files


def _open(file: Path) -> IO[bytes]:
    return cast(IO[bytes], gzip.open(file, "rb")) if file.suffix == ".gz" else file.open("rb")


def _row(line: bytes, origin: dict[str, object]) -> Row:
    try:
        value = json.loads(line.decode("utf-8"))
    except UnicodeDecodeError as error:
        return Row({}, origin, ("not_utf8", f"{error.reason} at byte {error.start}: {line[:_EVIDENCE]!r}"))
    except (json.JSONDecodeError, RecursionError) as error:
        shown = line.decode("utf-8").strip()[:_EVIDENCE]
        return Row({}, origin, ("not_json", f"{error}: {shown}"))
    if not isinstance(value, dict):
        return Row(
            {}, origin, ("not_an_object", f"the line is a JSON {type(value).__name__}: {str(value)[:_EVIDENCE]}")
        )
    return Row(value, origin)
