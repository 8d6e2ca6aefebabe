"""The rows of one file, by format. Memory is bounded by the longest row that counts as one, not by the file."""

import csv
import json
from collections.abc import Iterator
from typing import Any

from openthoughts_dagster.recipe import FilesSource
from openthoughts_dagster.sources.columns import is_unicode, needed_columns
from openthoughts_dagster.sources.contract import EVIDENCE, LONGEST_ROW, Row, SourceError, quoted
from openthoughts_dagster.sources.opening import File, lines

_BOM = b"\xef\xbb\xbf"
_BATCH = 256  # rows: a batch of long ones is held as a whole


def json_lines_rows(source: FilesSource, file: File) -> Iterator[Row]:
    """One JSON object a line; blank lines are no rows."""
    with file.open() as stream:
        for number, (line, whole) in enumerate(lines(stream), 1):
            text = line.removeprefix(_BOM) if number == 1 else line
            if text.strip():
                yield json_line(text, whole, {"file": file.name, "line": number})


def json_line(line: bytes, whole: bool, origin: dict[str, object]) -> Row:
    """The row of a line, or why there is none."""
    if not whole:
        return Row({}, origin, ("too_long", f"longer than {LONGEST_ROW:,} bytes: {quoted(line)}"))
    try:
        value = json.loads(line.decode("utf-8"))
    except UnicodeDecodeError as error:
        return Row({}, origin, ("not_utf8", f"{error.reason} at byte {error.start}: {quoted(line)}"))
    except (ValueError, RecursionError) as error:
        return Row({}, origin, ("not_json", f"{error}: {quoted(line.decode().strip())}"))
    if not isinstance(value, dict):
        return Row({}, origin, ("not_an_object", f"a JSON {type(value).__name__}: {quoted(str(value))}"))
    return Row(value, origin)


def json_rows(source: FilesSource, file: File) -> Iterator[Row]:
    """The objects of a JSON list, or of the list at `records`."""
    import ijson

    prefix = f"{source.records}.item" if source.records else "item"
    with file.open() as stream:
        for number, value in enumerate(ijson.items(stream, prefix, use_float=True)):
            origin = {"file": file.name, "item": number}
            if isinstance(value, dict):
                yield Row(value, origin)
            else:
                found = f"a JSON {type(value).__name__}: {quoted(str(value))}"
                yield Row({}, origin, ("not_an_object", found))


def csv_rows(source: FilesSource, file: File) -> Iterator[Row]:
    """Rows below a header line, separated by commas, or tabs in .tsv.

    A quotation mark that is never closed costs the rows up to the longest row that is read, not the file.
    """
    previous = csv.field_size_limit(LONGEST_ROW)
    too_long = False

    def texts(stream: Any) -> Iterator[str]:
        nonlocal too_long
        for line, whole in lines(stream):
            if whole:
                yield line.decode("utf-8", "surrogateescape")  # a broken byte makes its own row bad, and no other
            else:
                too_long, start = True, line[:EVIDENCE].decode("utf-8", "surrogateescape")
                yield start + ('"' if start.count('"') % 2 else "") + "\n"  # closed, so that the next row is one

    try:
        with file.open() as stream:
            rows = csv.reader(texts(stream), delimiter="\t" if file.format == "tsv" else ",", strict=True)
            header = [name.strip() for name in next(rows, [])]
            if header:
                header[0] = header[0].removeprefix("\ufeff")
            if len(set(header)) != len(header):
                raise SourceError(f"sources.{source.name}.path: {file.address}: a column name occurs twice in {header}")
            while True:
                too_long, line = False, rows.line_num + 1
                origin = {"file": file.name, "line": line}
                try:
                    row = next(rows)
                except StopIteration:
                    return
                except csv.Error as error:
                    yield Row({}, origin, ("not_csv", str(error)))
                    continue
                if row:
                    yield _csv_row(header, row, too_long, origin)
    finally:
        csv.field_size_limit(previous)


def _csv_row(header: list[str], row: list[str], too_long: bool, origin: dict[str, object]) -> Row:
    if too_long:
        return Row({}, origin, ("too_long", f"a line longer than {LONGEST_ROW:,} bytes: {quoted(','.join(row))}"))
    if len(row) != len(header):
        found = f"{len(row)} fields, the header has {len(header)}: {quoted(','.join(row))}"
        return Row({}, origin, ("not_csv", found))
    if not all(map(is_unicode, row)):
        return Row({}, origin, ("not_utf8", f"a broken byte in {quoted(ascii(','.join(row)))}"))
    return Row(dict(zip(header, row, strict=True)), origin)


def parquet_rows(source: FilesSource, file: File) -> Iterator[Row]:
    """Rows of a Parquet file. Columns that nothing names are not read where `columns.metadata` says which are kept."""
    import pyarrow.parquet as pq

    with file.system.open(file.address, "rb") as stream:
        parquet, number = pq.ParquetFile(stream), 0
        names = parquet.schema_arrow.names
        for batch in parquet.iter_batches(_BATCH, columns=needed_columns(source, source.columns, names)):
            for values in batch.to_pylist():
                yield Row(values, {"file": file.name, "row": number})
                number += 1
