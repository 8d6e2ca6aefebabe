"""One JSON document as a stream of the rows in it: bounded memory and depth, and no row costs another."""

import json
import re
from collections.abc import Iterator
from typing import IO

from openthoughts_dagster.sources.contract import EVIDENCE, LONGEST_ROW

DEEPEST = 100  # levels of lists and objects in one row
_CHUNK = 2**20
_SPACE = re.compile(rb"[ \t\r\n]*")
_STRUCTURE, _SCALAR_END = re.compile(rb'["\[\]{}]'), re.compile(rb"[,\]}\s]")
_STRING_REST = re.compile(rb'(?:[^"\\]++|\\.)*+', re.DOTALL)  # to the quotation mark that ends a string


class JsonScanner:
    """Reads values of a JSON stream one after the other, without parsing what is inside them."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream, self._data, self._at = stream, b"", 0
        self._before = 0  # bytes of the stream before self._data

    def peek(self) -> bytes:
        """The next byte that is no white space; nothing at the end."""
        while True:
            space = _SPACE.match(self._data, self._at)
            self._at = space.end() if space else self._at
            if self._at < len(self._data):
                return self._data[self._at : self._at + 1]
            if not self._more():
                return b""

    def skip(self, expected: bytes) -> bytes:
        """Pass over the next byte and return it. Raises ValueError when it is none of `expected`, EOFError at the end.

        `expected` lists the bytes that may stand here.
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
        """The bytes of the next value, and why they are not whole: `too_long`, `too_deep`, or None.

        Of a value with a problem only the beginning is kept. Raises EOFError when the stream ends inside it.
        """
        if self.peek() not in (b"{", b"[", b'"'):
            return self._scalar(), None
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
                if not self._more():
                    raise EOFError("it ends inside a row")
            elif depth <= 0 and not in_string:
                break
        problem = "too_long" if size > longest else "too_deep" if deepest > DEEPEST else None
        text = b"".join(kept)
        return (text[:EVIDENCE] if problem else text), problem

    def _scalar(self) -> bytes:
        kept = b""
        while True:
            found = _SCALAR_END.search(self._data, self._at)
            end = found.start() if found else len(self._data)
            kept += self._data[self._at : end][: LONGEST_ROW - len(kept)]
            self._at = end
            if found or not self._more():
                if not kept:
                    raise ValueError(f"no JSON: a value is missing at byte {self._before + self._at:,}")
                return kept

    def _more(self) -> bool:
        chunk = self._stream.read(_CHUNK)
        self._before += self._at
        self._data, self._at = self._data[self._at :] + chunk, 0
        return bool(chunk)


def list_values(scanner: JsonScanner) -> Iterator[tuple[bytes, str | None]]:
    """The values of the list that comes next, as `JsonScanner.value` gives them."""
    scanner.skip(b"[")
    if scanner.peek() == b"]":
        scanner.skip(b"]")
        return
    while True:
        yield scanner.value()
        if scanner.skip(b",]") == b"]":
            return


def values_at(scanner: JsonScanner, path: str) -> Iterator[tuple[bytes, str | None]]:
    """The values of the list at `path`, names joined by dots, inside the object that comes next.

    The rest of the document is read as well, so that one that was cut off raises EOFError. Raises KeyError when there
    is nothing at the path.
    """
    parts = path.split(".") if path else []
    for part in parts:
        scanner.skip(b"{")
        while _key(scanner) != part:
            scanner.value(0)
            if scanner.skip(b",}") == b"}":
                raise KeyError(path)
    yield from list_values(scanner)
    for _ in parts:
        while scanner.skip(b",}") == b",":
            _key(scanner)
            scanner.value(0)
    if (rest := scanner.peek()) != b"":
        raise ValueError(f"no JSON: something follows its end, beginning with {rest.decode('latin-1')!a}")


def too_deep(line: bytes) -> bool:
    """Whether a JSON text has more than DEEPEST levels of lists and objects. Quick for texts with few of them."""
    if line.count(b"[") + line.count(b"{") <= DEEPEST:
        return False
    depth = 0
    for mark in re.finditer(rb'"(?:[^"\\]|\\.)*+"|[\[\]{}]', line, re.DOTALL):
        depth += (mark[0] in (b"[", b"{")) - (mark[0] in (b"]", b"}"))
        if depth > DEEPEST:
            return True
    return False


def _key(scanner: JsonScanner) -> str:
    if scanner.peek() != b'"':
        scanner.skip(b'"')
    text, problem = scanner.value()
    scanner.skip(b":")
    return "" if problem else str(json.loads(text))
