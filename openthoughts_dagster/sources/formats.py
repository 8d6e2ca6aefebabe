"""The rows of one file, by format. Memory is bounded by the length of a row, not by the size of the file."""

from collections.abc import Iterator
from typing import Any

from openthoughts_dagster.recipe import FilesSource
from openthoughts_dagster.sources.columns import needed_columns, text_columns
from openthoughts_dagster.sources.contract import LONGEST_ROW, Row, SourceError, quote
from openthoughts_dagster.sources.json_documents import DEEPEST, JsonScanner, too_deep, values_at
from openthoughts_dagster.sources.json_values import parse_json, short_float_columns, write_short_floats
from openthoughts_dagster.sources.opening import File, lines, utf8_stream

_BATCH = 256  # rows of Parquet that are in memory at once; few, since rows may be long


def json_lines_rows(source: FilesSource, file: File) -> Iterator[Row]:
    """Read JSON Lines: one object on each line. Blank lines are skipped."""
    with file.open() as stream:
        for number, (line, whole) in enumerate(lines(utf8_stream(stream)), 1):
            if line.strip():
                yield json_line(line, whole, {"file": file.name, "line": number})


def json_line(line: bytes, whole: bool, origin: dict[str, object]) -> Row:
    """Parse one line of JSON Lines. The row has a `problem` when the line is not whole or not a JSON object."""
    if not whole:
        return Row({}, origin, ("too_long", f"longer than {LONGEST_ROW:,} bytes: {quote(line)}"))
    if too_deep(line):
        return Row({}, origin, ("too_deep", f"lists and objects nested more than {DEEPEST} levels: {quote(line)}"))
    try:
        value = parse_json(line.decode("utf-8"))
    except UnicodeDecodeError as error:
        return Row({}, origin, ("not_utf8", f"{error.reason} at byte {error.start}: {quote(line)}"))
    except (ValueError, RecursionError) as error:
        return Row({}, origin, ("not_json", f"{error}: {quote(line.decode().strip())}"))
    if not isinstance(value, dict):
        return Row({}, origin, ("not_an_object", f"a JSON {type(value).__name__}: {quote(str(value))}"))
    return Row(value, origin)


def json_rows(source: FilesSource, file: File) -> Iterator[Row]:
    """Read a JSON file: the objects of its list, or of the list at `records`. JSON Lines called .json are read too."""
    with file.open() as stream:
        scanner = JsonScanner(utf8_stream(stream))
        if scanner.peek() == b"[" or source.records:
            yield from _list_rows(source, file, scanner)
            return
        first, problem = scanner.value()
        only_one = not scanner.peek()
    if only_one and problem is None:
        yield _single_row(source, file, first)
        return
    yield from json_lines_rows(source, file)


def _list_rows(source: FilesSource, file: File, scanner: JsonScanner) -> Iterator[Row]:
    try:
        for number, (text, problem) in enumerate(values_at(scanner, source.records or "")):
            origin: dict[str, object] = {"file": file.name, "item": number}
            if problem == "too_deep":
                yield Row({}, origin, (problem, f"lists and objects nested more than {DEEPEST} levels: {quote(text)}"))
            else:
                yield json_line(text, problem is None, origin)
    except KeyError as error:
        raise SourceError(
            f"sources.{source.name}.records: {file.shown} has nothing at {source.records!r}; name the list of rows "
            "by the names that lead to it, joined by dots, such as data.items"
        ) from error


def _single_row(source: FilesSource, file: File, text: bytes) -> Row:
    """Make a row of a document that is one object. Raises SourceError when the object only wraps a list of rows."""
    row = json_line(text, True, {"file": file.name, "line": 1})
    lists = {name: value for name, value in row.values.items() if isinstance(value, list)}
    where = f"sources.{source.name}.records: {file.shown}"
    if found := [name for name, value in lists.items() if value and isinstance(value[0], dict)]:
        raise SourceError(f"{where} is one object with its rows in a list inside it; set `records: {found[0]}`")
    if lists and len(lists) == len(row.values) and len({len(value) for value in lists.values()}) == 1:
        raise SourceError(
            f"{where} maps each column ({', '.join(lists)}) to the list of its values; this reader needs one object "
            "for each row: write the file again as JSON Lines, e.g. with pandas: "
            "DataFrame(json.load(file)).to_json(path, orient='records', lines=True)"
        )
    return row


def parquet_rows(source: FilesSource, file: File) -> Iterator[Row]:
    """Read a Parquet file. When `columns.metadata` names the columns to keep, other columns are not read."""
    import pyarrow.parquet as pq

    with file.open_raw() as stream:
        parquet, number = pq.ParquetFile(stream), 0
        schema = parquet.schema_arrow
        if len(set(schema.names)) < len(schema.names):
            where = f"sources.{source.name}.path: {file.shown}"
            raise SourceError(f"{where}: a column name occurs twice in {schema.names}; write it again with other names")
        texts = [name for name in text_columns(source.columns) if name in schema.names]
        short = short_float_columns({name: str(schema.field(name).type) for name in texts})
        for batch in parquet.iter_batches(_BATCH, columns=needed_columns(source, source.columns, schema.names)):
            for values in _batch_rows(batch):
                origin: dict[str, object] = {"file": file.name, "row": number}
                number += 1
                if isinstance(values, dict):
                    yield Row(write_short_floats(values, short), origin)
                else:
                    yield Row({}, origin, values)


def _batch_rows(batch: Any) -> Iterator[dict[str, Any] | tuple[str, str]]:
    """Yield the rows of a batch. For a row with a text that is not UTF-8, yield the reason and the evidence."""
    try:
        yield from batch.to_pylist()
        return
    except UnicodeDecodeError:
        pass
    for row in range(batch.num_rows):
        try:
            yield batch.slice(row, 1).to_pylist()[0]
        except UnicodeDecodeError as error:
            yield (
                "not_utf8",
                f"column {_broken_column(batch, row)!r}: {error.reason} in {quote(bytes(error.object))}",
            )


def _broken_column(batch: Any, row: int) -> str:
    for name in batch.schema.names:
        try:
            batch.column(name)[row].as_py()
        except UnicodeDecodeError:
            return str(name)
    return "?"
