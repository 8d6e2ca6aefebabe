"""Reading Posts.xml of a StackExchange dump as a stream, from a 7z archive or a file. No entity is expanded."""

import re
from collections.abc import Callable
from typing import Any
from xml.parsers import expat

from openthoughts_dagster.sources.contract import SourceError
from openthoughts_dagster.sources.opening import File

POSTS = "Posts.xml"
Take = Callable[[dict[str, str]], None]

_CHUNK = 2**20
_LONGEST_ELEMENT = 64 * 2**20  # bytes; a post has at most some 100,000
# References to control characters, which XML 1.0 does not allow: one of them would make a dump of 100 GB unreadable.
_CONTROL = re.compile(
    rb"&#(?:x0*(?:[0-8bcefBCEF]|1[0-9a-fA-F]|[dD][89a-fA-F][0-9a-fA-F]{2}|[fF]{3}[efEF])"
    rb"|0*(?:[0-8]|1[124-9]|2[0-9]|3[01]));"
)
_LONGEST_REFERENCE = 16


class PostsParser:
    """Calls `take` with the attributes of every <row>. It refuses document types, and so every entity."""

    def __init__(self, where: str, take: Take) -> None:
        self._where, self._take = where, take
        self._parser = expat.ParserCreate()
        self._parser.StartElementHandler = self._start
        self._parser.StartDoctypeDeclHandler = self._refuse_document_type
        self._since_element = 0
        self._held = b""

    def feed(self, data: bytes) -> None:
        """Parse the next bytes. Raises SourceError when a dump cannot have them."""
        for start in range(0, len(data), _CHUNK):
            chunk = self._held + data[start : start + _CHUNK]
            # A reference at the end of the chunk may continue in the next chunk.
            cut = chunk.find(b"&", max(0, len(chunk) - _LONGEST_REFERENCE))
            chunk, self._held = (chunk, b"") if cut < 0 else (chunk[:cut], chunk[cut:])
            self._parse(chunk, False)

    def close(self) -> None:
        """Parse the rest. Raises SourceError when the document is not complete."""
        self._parse(self._held, True)

    def _parse(self, chunk: bytes, last: bool) -> None:
        self._since_element += len(chunk)
        if self._since_element > _LONGEST_ELEMENT:
            raise SourceError(f"{self._where}: an element longer than {_LONGEST_ELEMENT:,} bytes; no dump has one")
        try:
            self._parser.Parse(_CONTROL.sub(b"&#xFFFD;", chunk), last)
        except expat.ExpatError as error:
            raise SourceError(f"{self._where} is no whole XML document: {error}. Download the dump again") from error

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        self._since_element = 0
        if name == "row":
            self._take(attributes)

    def _refuse_document_type(self, *_: Any) -> None:
        raise SourceError(f"{self._where} declares a document type, which could define entities; no dump has one")


def read_posts(where: str, file: File, take: Take) -> None:
    """Call `take` with every post of a dump, in order.

    Raises:
        SourceError: The archive or the document is not complete.
    """
    parser = PostsParser(f"{where}: {file.shown}", take)
    if file.format == "7z":
        _read_archive(where, file, parser)
    else:
        with file.open() as stream:
            while chunk := stream.read(_CHUNK):
                parser.feed(chunk)
    parser.close()


def _read_archive(where: str, file: File, parser: PostsParser) -> None:
    """Feed the archive's Posts.xml to the parser while it is unpacked. No file is written."""
    import py7zr
    from py7zr.io import Py7zIO, WriterFactory

    class Sink(Py7zIO):  # type: ignore[misc, unused-ignore]
        written = 0

        def write(self, s: bytes | bytearray) -> int:
            self.written += len(s)
            parser.feed(bytes(s))
            return len(s)

        def read(self, size: int | None = None) -> bytes:
            return b""

        def seek(self, offset: int, whence: int = 0) -> int:
            return offset

        def flush(self) -> None:
            pass

        def size(self) -> int:
            return self.written

    class Sinks(WriterFactory):  # type: ignore[misc, unused-ignore]
        def create(self, filename: str) -> Any:
            return Sink()

    with file.open_raw() as stream:
        try:
            with py7zr.SevenZipFile(stream) as archive:
                names = archive.getnames()
                if POSTS not in names:
                    shown = ", ".join(map(repr, names[:5])) or "nothing"
                    raise SourceError(f"{where}: {file.shown} has no {POSTS} at its top; it has {shown}")
                archive.extract(targets=[POSTS], factory=Sinks())
        except SourceError:
            raise
        except Exception as error:  # errors of py7zr and of the decompressors share no class
            raise SourceError(
                f"{where}: {file.shown} is no whole 7z archive: {type(error).__name__}: {error}. Download it again"
            ) from error
