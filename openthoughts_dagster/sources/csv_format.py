"""The rows of a CSV or TSV file. A quotation mark that is never closed rejects its own row and no other."""

import csv
from collections import deque
from collections.abc import Iterator

from openthoughts_dagster.lake.unicode import has_lone_surrogate
from openthoughts_dagster.recipe import FilesSource
from openthoughts_dagster.sources.contract import EVIDENCE, LONGEST_ROW, Row, SourceError, quote
from openthoughts_dagster.sources.opening import File, lines, utf8_stream

_MOST_READ_AGAIN = 2**30  # bytes that may be read again after quotation marks that are never closed
_REMEDY = 'a quotation mark inside a field is written twice ("")'


def csv_rows(source: FilesSource, file: File) -> Iterator[Row]:
    """Read the rows below the header line. Fields are separated by commas, or by tabs in .tsv files.

    When a quotation mark is not closed, only its line is rejected, and reading continues with the next line.

    Args:
        source: The source.
        file: The file.

    Yields:
        A row for each record; one with a `problem` for a line that is not valid CSV.

    Raises:
        SourceError: The header is not valid, or a gigabyte had to be read again after unclosed quotation marks.
    """
    # The limit is one of the process, where another thread may be reading too: it is never lowered again.
    csv.field_size_limit(max(LONGEST_ROW, csv.field_size_limit()))
    with file.open() as stream:
        yield from _rows(source, file, _Lines(lines(utf8_stream(stream))))


class _Lines:
    """Lines as text. The lines of a record that is not valid can be given back and read again."""

    def __init__(self, read: Iterator[tuple[bytes, bool]]) -> None:
        self._read, self._again = read, deque[tuple[str, bool]]()
        self.record: list[tuple[str, bool]] = []
        self.number = self.read_again = 0  # the number of lines before the record, and of characters given back

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        line, whole = self._again.popleft() if self._again else self._next_line()
        self.record.append((line, whole))
        return line

    def begin(self) -> None:
        """Begin a record with the next line."""
        self.number += len(self.record)
        self.record = []

    def give_back(self) -> None:
        """Keep only the first line of the record, and give back the others."""
        rest = self.record[1:]
        self.read_again += sum(len(line) for line, _ in rest)
        self._again.extendleft(reversed(rest))
        del self.record[1:]

    def _next_line(self) -> tuple[str, bool]:
        line, whole = next(self._read)
        if whole:
            return line.decode("utf-8", "surrogateescape"), True  # a broken byte rejects only its own row
        start = line[:EVIDENCE].decode("utf-8", "surrogateescape")
        return start + ('"' if start.count('"') % 2 else "") + "\n", False  # closed, so that a row ends here


def _rows(source: FilesSource, file: File, text: _Lines) -> Iterator[Row]:
    delimiter = "\t" if file.format == "tsv" else ","
    reader = csv.reader(text, delimiter=delimiter, strict=True)
    where = f"sources.{source.name}.path: {file.shown}"
    try:
        header = [name.strip() for name in next(reader, [])]
    except csv.Error as error:
        raise SourceError(f"{where}: its header line is no CSV: {error}; {_REMEDY}") from error
    if len(set(header)) != len(header):
        raise SourceError(f"{where}: a column name occurs twice in {header}")
    while True:
        text.begin()
        origin: dict[str, object] = {"file": file.name, "line": text.number + 1}
        try:
            row = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            text.give_back()
            if text.read_again > _MOST_READ_AGAIN:
                raise SourceError(
                    f"{where}: line {text.number + 1}: one of many quotation marks that are never closed; {_REMEDY}"
                ) from error
            yield _row_of_unclosed_line(header, text.record, delimiter, origin, error)
            continue
        if row:
            yield _row(header, row, text.record, origin)


def _row_of_unclosed_line(
    header: list[str], record: list[tuple[str, bool]], delimiter: str, origin: dict[str, object], error: csv.Error
) -> Row:
    """Make a row of a line with an unclosed quotation mark, which in TSV may be an inch mark in a good row."""
    line, whole = record[0]
    fields = line.rstrip("\r\n").split(delimiter)
    if delimiter == "\t" and whole and len(fields) == len(header):
        return _row(header, fields, record, origin)
    return Row({}, origin, ("not_csv", f"{error}: {quote(line.rstrip())}; {_REMEDY}"))


def _row(header: list[str], row: list[str], record: list[tuple[str, bool]], origin: dict[str, object]) -> Row:
    if not all(whole for _, whole in record):
        return Row({}, origin, ("too_long", f"a line longer than {LONGEST_ROW:,} bytes: {quote(','.join(row))}"))
    if len(row) != len(header):
        lines_read = f" in {len(record):,} lines" if len(record) > 1 else ""
        found = f"{len(row)} fields{lines_read}, the header has {len(header)}: {quote(','.join(row))}"
        return Row({}, origin, ("not_csv", found))
    if any(map(has_lone_surrogate, row)):
        return Row({}, origin, ("not_utf8", f"a broken byte in {quote(ascii(','.join(row)))}"))
    return Row(dict(zip(header, row, strict=True)), origin)
