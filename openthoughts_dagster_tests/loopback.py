"""HTTP servers on loopback that run beside a test."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from socketserver import BaseServer
from threading import Thread
from typing import Any, TypeVar

Server = TypeVar("Server", bound=BaseServer)


@contextmanager
def serving(server: Server) -> Iterator[Server]:
    """Serve until the end of the block, and wait for the thread that serves."""
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class QuietHandler(BaseHTTPRequestHandler):
    """Reads and answers requests with bodies, and writes no log."""

    def log_message(self, *_: object) -> None:
        """Nothing: the test's output is its own."""

    def read(self) -> bytes:
        """Read the body of the request."""
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def send(self, status: int, content: bytes = b"", **headers: str) -> None:
        """Answer with a body; underscores in names of headers stand for hyphens."""
        self.send_response(status)
        for name, value in {"Content_Length": str(len(content)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def send_json(self, status: int, value: Any, **headers: str) -> None:
        """Answer with a value as JSON."""
        self.send(status, json.dumps(value).encode(), Content_Type="application/json", **headers)
