"""Container logs over TLS, as the API server asks a kubelet for them."""

import ssl
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

Find = Callable[[str, str, str], tuple[Path, Callable[[], bool]] | None]


class LogServer:
    """Serves GET /containerLogs/NAMESPACE/POD/CONTAINER with tailLines, limitBytes and follow.

    `find` gives a container's log and whether the container still runs. Times of lines are not kept.
    """

    def __init__(self, certificate: Path, key: Path, find: Find) -> None:
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(find))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self._server.daemon_threads = True
        self.port = int(self._server.server_address[1])
        threading.Thread(target=self._server.serve_forever, name="logs", daemon=True).start()

    def close(self) -> None:
        """Stop serving."""
        self._server.shutdown()
        self._server.server_close()


def _handler(find: Find) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            address = urlsplit(self.path)
            options = {key: values[0] for key, values in parse_qs(address.query).items()}
            parts = address.path.strip("/").split("/")
            found = find(parts[1], parts[2], parts[3]) if len(parts) == 4 and parts[0] == "containerLogs" else None
            if found is None:
                self.send_error(404)
                return
            path, runs = found
            self.send_response(200)
            self.send_header("Content-Type", "text/plain")
            self.end_headers()
            with suppress(OSError):
                self._send(path, runs, options)

        def _send(self, path: Path, runs: Callable[[], bool], options: dict[str, str]) -> None:
            with path.open("rb") as file:
                text = file.read()
                if "tailLines" in options:
                    lines = text.splitlines(keepends=True)
                    text = b"".join(lines[max(0, len(lines) - int(options["tailLines"])) :])
                self.wfile.write(text[: int(options["limitBytes"])] if "limitBytes" in options else text)
                while options.get("follow") == "true":
                    going = runs()
                    self.wfile.write(file.read())
                    self.wfile.flush()
                    if not going:
                        return
                    time.sleep(0.2)

        def log_message(self, *_: object) -> None:
            pass

    return Handler
