"""Damage as disks do it: a file that is cut off, and one of which bytes were flipped."""

from collections.abc import Callable
from pathlib import Path

from openthoughts_dagster.lake import Lake, Table

Harm = Callable[[Path], None]


def data_file(lake: Lake, table: Table) -> Path:
    """A data file of a table."""
    return sorted(Path(lake.address(table)).rglob("*.parquet"))[0]


def cut_off(file: Path) -> None:
    """Leave out the end of a file, as a full disk does."""
    file.write_bytes(file.read_bytes()[:-20])


def flip_bytes(file: Path) -> None:
    """Change every byte between the first and the last of a Parquet file's columns and keep its length."""
    content = bytearray(file.read_bytes())
    footer = int.from_bytes(content[-8:-4], "little")
    for at in range(4, len(content) - 8 - footer):
        content[at] ^= 0xFF
    file.write_bytes(bytes(content))
