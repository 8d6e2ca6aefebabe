"""The reader of one's own files: JSON Lines, JSON, CSV, TSV and Parquet. Each file is a shard."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from openthoughts_dagster.recipe import FilesSource, Recipe
from openthoughts_dagster.sources.contract import Reader, ReaderContext, Reading, Row, Shard, SourceError
from openthoughts_dagster.sources.csv_format import csv_rows
from openthoughts_dagster.sources.formats import json_lines_rows, json_rows, parquet_rows
from openthoughts_dagster.sources.opening import File, file_name, find_files, reading

_FORMATS: dict[str, Callable[[FilesSource, File], Iterator[Row]]] = {
    "jsonl": json_lines_rows,
    "ndjson": json_lines_rows,
    "json": json_rows,
    "csv": csv_rows,
    "tsv": csv_rows,
    "parquet": parquet_rows,
}


def has_known_format(path: str) -> bool:
    """Whether a path ends as a file that can be read, such as .jsonl, .csv.gz or .parquet."""
    return File(file_name(path), "", None, path).format in _FORMATS


def read_records(where: str, path: str) -> Iterator[Mapping[str, Any]]:
    """Read the rows of files that are no source, such as examples or the questions of a benchmark.

    Args:
        where: The name of the setting, for errors.
        path: A file, a glob or an address that is absolute.

    Yields:
        The values of each row.

    Raises:
        SourceError: There is no file, it cannot be read whole, or one of its rows cannot be parsed.
    """
    for file in find_files(where, path):
        if file.format not in _FORMATS:
            raise SourceError(f"{where}: {file.shown} ends in none of {', '.join('.' + name for name in _FORMATS)}")
        settings = FilesSource(name="rows", domain="any", reader="files", path=path)
        with reading(where, file), _without_records(where, file):
            for row in _FORMATS[file.format](settings, file):
                if row.problem:
                    at = ", ".join(f"{name} {value}" for name, value in row.origin.items())
                    raise SourceError(f"{where}: {at}: {row.problem[0]}: {row.problem[1]}")
                yield row.values


@contextmanager
def _without_records(where: str, file: File) -> Iterator[None]:
    """Say of a JSON document that wraps its rows what to do where there is no setting `records`."""
    try:
        yield
    except SourceError as error:
        if "sources.rows.records" not in str(error):
            raise
        raise SourceError(
            f"{where}: {file.shown} is a JSON document that is no list of rows: write the rows as JSON Lines"
        ) from error


def read_files(source: FilesSource, recipe: Recipe, context: ReaderContext, seed: str) -> Reading:
    """Read a source of files. A row that cannot be parsed is rejected; a file that cannot be read whole is an error.

    Args:
        source: The source, whose `path` is a file, a glob or an address.
        recipe: The recipe, whose folder relative paths start at.
        context: Not used by this reader.
        seed: Not used by this reader.

    Returns:
        One shard for each file.

    Raises:
        SourceError: No file is at the path, or a file's name ends in no known format.
    """
    where = f"sources.{source.name}.path"
    files = find_files(where, recipe.path(source.path), source.confined_to)
    for file in files:
        if file.format not in _FORMATS:
            raise SourceError(
                f"{where}: {file.shown} ends in no format that can be read; rename it to end in "
                f"{', '.join('.' + name for name in _FORMATS)}, with .gz, .zst, .bz2 or .xz after it when compressed"
            )

    def opened(file: File) -> Callable[[], Iterator[Row]]:
        def rows() -> Iterator[Row]:
            with reading(where, file):
                yield from _FORMATS[file.format](source, file)

        return rows

    return Reading([Shard(file.name, file.version, opened(file)) for file in files])


READER = Reader(FilesSource, read_files, package="fsspec")
