"""Content hashes: what data versions and keys are made of."""

import hashlib
import json
from collections.abc import Iterable
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import polars as pl


def text_hash(*parts: str) -> str:
    """128-bit hexadecimal hash of a sequence of texts; where one text ends matters."""
    digest = hashlib.blake2b(digest_size=16)
    for part in parts:
        data = part.encode("utf-8", "surrogatepass")
        digest.update(len(data).to_bytes(8, "big"))
        digest.update(data)
    return digest.hexdigest()


def value_hash(value: Any) -> str:
    """Hash of a JSON-like value; the order of an object's keys does not matter."""
    return text_hash(json.dumps(value, sort_keys=True, ensure_ascii=False, default=str))


def frame_hash(rows: pl.DataFrame) -> str:
    """Hash of a table's content: column names and rows, whatever the order of the rows."""
    columns = sorted(rows.columns)
    row_hashes = sorted(text_hash(line) for line in rows.select(columns).write_ndjson().splitlines())
    return text_hash(*columns, *row_hashes)


def batches_hash(batches: Iterable[pl.DataFrame]) -> str:
    """Hash of the rows of a table too large to hold, whatever their order and however they are cut into batches.

    The sum of the rows' 256-bit hashes (a multiset hash): a row that occurs twice counts twice. `frame_hash` sorts
    the hashes of all rows instead; it stays because trainings that were paid for are found by it.
    """
    total, count, columns = 0, 0, list[str]()
    for rows in batches:
        columns = sorted(rows.columns)
        for line in rows.select(columns).write_ndjson().splitlines():
            total += int.from_bytes(hashlib.blake2b(line.encode(), digest_size=32).digest(), "big")
        count += rows.height
    return text_hash(*columns, str(count), f"{total % 2**256:064x}")


def folder_hash(folder: Path, ignore: tuple[str, ...] = ()) -> str:
    """Hash of the files below a folder: names and bytes. Two copies of a checkpoint have one revision.

    `ignore` are glob patterns of top-level names that do not count, such as a report beside the weights.
    """
    digest = hashlib.blake2b(digest_size=16)
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        if any(fnmatch(path.relative_to(folder).parts[0], pattern) for pattern in ignore):
            continue
        digest.update(text_hash(path.relative_to(folder).as_posix()).encode())
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).digest())
    return digest.hexdigest()
