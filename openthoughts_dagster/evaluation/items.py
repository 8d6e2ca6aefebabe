"""Reads JSON Lines files of benchmark questions strictly, because a skipped row would change a score unnoticed."""

import gzip
import io
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, cast

from openthoughts_dagster.evaluation.errors import BenchmarkError
from openthoughts_dagster.lake.unicode import replace_lone_surrogates


@dataclass(frozen=True)
class Item:
    """A question and its answer; a number is kept as the text in the file, so 42.0 stays '42.0'."""

    question: str
    answer: str


def read_items(path: Path) -> list[Item]:
    """Read the rows of a benchmark's file, in order.

    Raises:
        BenchmarkError: The file is missing, empty or not JSON Lines, or a row has no question or no answer. The message
            has file and line.
    """
    return [Item(_field(row, "question", where), _field(row, "answer", where)) for where, row in _rows(path)]


def _rows(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    if not path.is_file():
        raise BenchmarkError(f"{path}: there is no such file; correct the path in the recipe")
    empty = True
    try:
        with cast(IO[bytes], gzip.open(path) if path.suffix == ".gz" else path.open("rb")) as file:
            # Only line feeds end a line, as in any JSON Lines.
            for number, line in enumerate(io.TextIOWrapper(file, "utf-8-sig", newline="\n"), start=1):
                if line.strip():
                    empty = False
                    yield f"{path}, line {number}", _row(line, f"{path}, line {number}")
    except (UnicodeDecodeError, gzip.BadGzipFile, EOFError) as error:
        raise BenchmarkError(f"{path}: not a JSON Lines file that can be read: {error}") from error
    if empty:
        raise BenchmarkError(f"{path}: the file is empty; it needs one JSON object with question and answer per line")


def _row(line: str, where: str) -> dict[str, Any]:
    try:
        row = json.loads(line, parse_int=str, parse_float=str)
    except json.JSONDecodeError as error:
        raise BenchmarkError(f"{where}: not JSON: {error}") from error
    if not isinstance(row, dict):
        raise BenchmarkError(f'{where}: a row is a JSON object such as {{"question": ..., "answer": ...}}')
    return row


def _field(row: dict[str, Any], column: str, where: str) -> str:
    value = row.get(column)
    if isinstance(value, str) and value.strip():
        return replace_lone_surrogates(value)
    if column not in row:
        raise BenchmarkError(f"{where}: has no {column!r}; its fields are {sorted(row)}")
    raise BenchmarkError(f"{where}: {column!r} must be a text or a number, got {value!r}")
