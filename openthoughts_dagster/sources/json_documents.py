"""Reading the rows of one JSON document as a stream. Memory and depth are bounded, and a bad row rejects no other."""

import json
import re
from collections.abc import Iterator
from typing import IO

from openthoughts_dagster.sources.contract import EVIDENCE, LONGEST_ROW

DEEPEST = 100  # levels of lists and objects in one row
_CHUNK = 2**20
_SPACE = re.compile(rb"[ \t\r\n]*")
_STRUCTURE, _SCALAR_END = re.compile(rb'["\[\]{}]'), re.compile(rb"[,\]}\s]")
_STRING_REST = re.compile(rb'(?:[^"\\]++|\\.)*+', re.DOTALL)  # up to the quotation mark that ends a string


class JsonScanner:
    """Reads the values of a JSON stream one after the other, as bytes, without parsing them."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream, self._data, self._at = stream, b"", 0
        self._before = 0  # bytes of the stream before self._data

    def peek(self) -> bytes:
        """Return the next byte that is no white space, without passing it. Returns nothing at the end."""
        while True:
            space = _SPACE.match(self._data, self._at)
            self._at = space.end() if space else self._at
            if self._at < len(self._data):
                return self._data[self._at : self._at + 1]
            if not self._read_more():
                return b""

    def skip(self, expected: bytes) -> bytes:
        """Pass over the next byte and return it.

        Args:
            expected: The bytes that may stand here.

        Raises:
            ValueError: Another byte stands here.
            EOFError: The stream has ended.
        """
        found = self.peek()
        if not found:
            raise EOFError("it ends before its JSON does")
        if found not in expected:
            wanted, got = " or ".join(repr(chr(byte)) for byte in expected), ascii(found.decode("latin-1"))
            raise ValueError(f"no JSON: byte {self._before + self._at:,} is {got}, not {wanted}")
        self._at += 1
        return found

    def value(self, longest: int = LONGEST_ROW) -> tuple[bytes, str | None]:
        """Read the next value.

        Args:
            longest: The largest number of bytes that are kept.

        Returns:
            The bytes of the value, and its problem: `too_long`, `too_deep`, or None. Of a value with a problem only the
            beginning is kept.

        Raises:
            EOFError: The stream ends inside the value.
        """
        if self.peek() not in (b"{", b"[", b'"'):
            return self._read_scalar(), None
        kept, size, depth, deepest, in_string = list[bytes](), 0, 0, 0, False
        while True:
            start, waiting = self._at, False
            if in_string:
                self._at = _STRING_REST.match(self._data, start).end()  # type: ignore[union-attr] # also of length 0
                waiting = self._data[self._at : self._at + 1] != b'"'
                if not waiting:
                    self._at, in_string = self._at + 1, False
            elif found := _STRUCTURE.search(self._data, start):
                self._at = found.end()
                if found[0] == b'"':
                    in_string = True
                else:
                    depth += 1 if found[0] in b"[{" else -1
                    deepest = max(deepest, depth)
            else:
                self._at, waiting = len(self._data), True
            if size <= longest:
                kept.append(self._data[start : self._at])
            size += self._at - start
            if waiting:
                if not self._read_more():
                    raise EOFError("it ends inside a row")
            elif depth <= 0 and not in_string:
                break
        problem = "too_long" if size > longest else "too_deep" if deepest > DEEPEST else None
        text = b"".join(kept)
        return (text[:EVIDENCE] if problem else text), problem

    def _read_scalar(self) -> bytes:
        kept = b""
        while True:
            found = _SCALAR_END.search(self._data, self._at)
            end = found.start() if found else len(self._data)
            kept += self._data[self._at : end][: LONGEST_ROW - len(kept)]
            self._at = end
            if found or not self._read_more():
                if not kept:
                    raise ValueError(f"no JSON: a value is missing at byte {self._before + self._at:,}")
                return kept

    def _read_more(self) -> bool:
        chunk = self._stream.read(_CHUNK)
        self._before += self._at
        self._data, self._at = self._data[self._at :] + chunk, 0
        return bool(chunk)


def list_values(scanner: JsonScanner) -> Iterator[tuple[bytes, str | None]]:
    """Yield the values of the list that comes next, as `JsonScanner.value` returns them."""
    scanner.skip(b"[")
    if scanner.peek() == b"]":
        scanner.skip(b"]")
        return
    while True:
        yield scanner.value()
        if scanner.skip(b",]") == b"]":
            return


def values_at(scanner: JsonScanner, path: str) -> Iterator[tuple[bytes, str | None]]:
    """Yield the values of a list inside the object that comes next, and then read the rest of the document.

    Args:
        scanner: The stream.
        path: The names that lead to the list, joined by dots; empty when the document is the list.

    Raises:
        KeyError: There is nothing at the path.
        EOFError: The document is cut off.
    """
    parts = path.split(".") if path else []
    for part in parts:
        scanner.skip(b"{")
        while _read_key(scanner) != part:
            scanner.value(0)
            if scanner.skip(b",}") == b"}":
                raise KeyError(path)
    yield from list_values(scanner)
    for _ in parts:
        while scanner.skip(b",}") == b",":
            _read_key(scanner)
            scanner.value(0)
    if (rest := scanner.peek()) != b"":
        raise ValueError(f"no JSON: something follows its end, beginning with {rest.decode('latin-1')!a}")


def too_deep(line: bytes) -> bool:
    """Whether a JSON text has more than DEEPEST levels of lists and objects. Texts with few of them are fast."""
    if line.count(b"[") + line.count(b"{") <= DEEPEST:
        return False
    depth = 0
    for mark in re.finditer(rb'"(?:[^"\\]|\\.)*+"|[\[\]{}]', line, re.DOTALL):
        depth += (mark[0] in (b"[", b"{")) - (mark[0] in (b"]", b"}"))
        if depth > DEEPEST:
            return True
    return False


def _read_key(scanner: JsonScanner) -> str:
    if scanner.peek() != b'"':
        scanner.skip(b'"')
    text, problem = scanner.value()
    scanner.skip(b":")
    return "" if problem else str(json.loads(text))
