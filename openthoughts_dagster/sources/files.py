"""Files of one's own: JSON Lines, JSON, CSV and Parquet, one shard each."""

from collections.abc import Callable, Iterator

from openthoughts_dagster.recipe import FilesSource, Recipe
from openthoughts_dagster.sources.contract import Reader, ReaderContext, Reading, Row, Shard, SourceError
from openthoughts_dagster.sources.csv_format import csv_rows
from openthoughts_dagster.sources.formats import json_lines_rows, json_rows, parquet_rows
from openthoughts_dagster.sources.opening import File, find_files, reading

_FORMATS: dict[str, Callable[[FilesSource, File], Iterator[Row]]] = {
    "jsonl": json_lines_rows,
    "ndjson": json_lines_rows,
    "json": json_rows,
    "csv": csv_rows,
    "tsv": csv_rows,
    "parquet": parquet_rows,
}


def read_files(source: FilesSource, recipe: Recipe, context: ReaderContext, seed: str) -> Reading:
    """One shard for each file that the source's path stands for.

    A row that cannot be parsed is a row with a problem, and the rest goes on; a file that cannot be read to its end
    is an error. Raises SourceError when no file is there, or one has an ending that no format has.
    """
    where = f"sources.{source.name}.path"
    files = find_files(where, recipe.path(source.path), source.confined_to)
    for file in files:
        if file.format not in _FORMATS:
            raise SourceError(
                f"{where}: {file.address} ends in no format that can be read; rename it to end in "
                f"{', '.join('.' + name for name in _FORMATS)}, with .gz, .zst, .bz2 or .xz after it when compressed"
            )

    def opened(file: File) -> Callable[[], Iterator[Row]]:
        def rows() -> Iterator[Row]:
            with reading(where, file):
                yield from _FORMATS[file.format](source, file)

        return rows

    return Reading([Shard(file.name, file.version, opened(file)) for file in files])


READER = Reader(FilesSource, read_files, package="fsspec")
