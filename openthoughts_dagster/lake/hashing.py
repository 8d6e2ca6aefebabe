"""Content hashes, from which data versions and keys are made."""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatch
from pathlib import Path, PurePosixPath
from typing import Any

import polars as pl


def text_hash(*parts: str) -> str:
    """Return a 128-bit hexadecimal hash of a sequence of texts; ("ab", "c") and ("a", "bc") differ."""
    digest = hashlib.blake2b(digest_size=16)
    for part in parts:
        digest.update(_framed(part))
    return digest.hexdigest()


def text_hashes(before: Sequence[str], texts: Iterable[str], after: Sequence[str]) -> list[str]:
    """Return `text_hash(*before, text, *after)` for each text; the shared beginning is hashed once."""
    head, tail = hashlib.blake2b(b"".join(map(_framed, before)), digest_size=16), b"".join(map(_framed, after))
    hashes = []
    for text in texts:
        digest = head.copy()
        digest.update(_framed(text) + tail)
        hashes.append(digest.hexdigest())
    return hashes


def _framed(part: str) -> bytes:
    data = part.encode("utf-8", "surrogatepass")
    return len(data).to_bytes(8, "big") + data


def value_hash(value: Any) -> str:
    """Return the hash of a JSON-like value; the order of an object's keys does not matter."""
    return text_hash(json.dumps(value, sort_keys=True, ensure_ascii=False, default=str))


def frame_hash(rows: pl.DataFrame) -> str:
    """Return the hash of a table's column names and rows; the order of the rows does not matter."""
    columns = sorted(rows.columns)
    ordered = rows.select(columns).sort(columns)
    digest = hashlib.blake2b(text_hash(*columns).encode(), digest_size=16)
    for part in ordered.iter_slices(100_000):
        digest.update(part.write_ndjson().encode())
    return digest.hexdigest()


def batches_hash(batches: Iterable[pl.DataFrame]) -> str:
    """Return the hash of a table that does not fit into memory; order and batch sizes do not matter.

    The sum of the rows' 256-bit hashes (a multiset hash): a row that occurs twice counts twice. `frame_hash` sorts
    the table instead, which is faster where it fits into memory.
    """
    total, count, columns = 0, 0, list[str]()
    for rows in batches:
        columns = sorted(rows.columns)
        for line in rows.select(columns).write_ndjson().encode().splitlines():
            total += int.from_bytes(hashlib.blake2b(line, digest_size=32).digest(), "big")
        count += rows.height
    return text_hash(*columns, str(count), f"{total % 2**256:064x}")


def folder_hash(folder: Path, ignore: tuple[str, ...] = ()) -> str:
    """Return the hash of the names and bytes of all files below a folder; copies of a folder have the same hash.

    Args:
        folder: The folder.
        ignore: Glob patterns of top-level names that are left out, such as a report beside the weights.
    """
    names = [path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()]
    return files_hash({name: file_digest(folder / name) for name in names if not _ignored(name, ignore)})


def files_hash(digests: Mapping[str, bytes], ignore: tuple[str, ...] = ()) -> str:
    """Return the `folder_hash` of a folder from the digests of its files, by their paths in the folder."""
    digest = hashlib.blake2b(digest_size=16)
    for name in sorted(digests, key=PurePosixPath):
        if not _ignored(name, ignore):
            digest.update(text_hash(name).encode())
            digest.update(digests[name])
    return digest.hexdigest()


def file_digest(path: Path) -> bytes:
    """Return the 128-bit hash of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).digest()


def _ignored(name: str, ignore: tuple[str, ...]) -> bool:
    return any(fnmatch(PurePosixPath(name).parts[0], pattern) for pattern in ignore)
