"""The table of readers: one entry for each kind of source that a recipe can name.

A reader consists of two files: its settings are in the union `Source` of recipe/sources.py, and a module here with the
name of the reader has its entry `READER`.
"""

from importlib import import_module
from importlib.util import find_spec
from typing import get_args

from openthoughts_dagster.recipe import Columns, Source
from openthoughts_dagster.sources.contract import Reader


def reader_names() -> list[str]:
    """List the names that a source's `reader` can have, in the order of the union `Source`."""
    members = get_args(get_args(Source)[0])
    return [get_args(member.model_fields["reader"].annotation)[0] for member in members]


READERS: dict[str, Reader] = {
    name: import_module(f"openthoughts_dagster.sources.{name}").READER for name in reader_names()
}


def reader_of(source: Source) -> Reader:
    """Return the reader that a source names."""
    return READERS[source.reader]


def columns_of(source: Source) -> Columns:
    """Return how the rows of a source are mapped: as its recipe says, or by the columns that its reader makes."""
    return getattr(source, "columns", None) or reader_of(source).columns or Columns()


def missing_package(source: Source) -> str | None:
    """Say which package is missing to read a source here, and how to install it. Returns None when none is missing."""
    reader = reader_of(source)
    if reader.package is None or find_spec(reader.package) is not None:
        return None
    return (
        f"reader {source.reader} needs the package {reader.package}, which is not installed here: pip install "
        f"'openthoughts-dagster[{reader.extra}]'"
    )
