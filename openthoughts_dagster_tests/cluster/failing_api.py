"""An API server that fails as it is told, for what a real one does only now and then."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Answer = int | dict[str, Any] | tuple[int, dict[str, Any]]


@contextmanager
def failing_api(*answers: Answer) -> Iterator[tuple[Any, list[str]]]:
    """A client of it, and the requests so far. `answers` in their order: a status, 0 to hang up, an object, or both."""
    from kubernetes import client

    left, asked = list(answers), list[str]()

    class Handler(BaseHTTPRequestHandler):
        def answer(self) -> None:
            asked.append(f"{self.command} {self.path.partition('?')[0]}")
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            answer = left.pop(0)
            if answer == 0:
                self.connection.close()
                return
            if isinstance(answer, dict):
                answer = (200, answer)
            status, body = answer if isinstance(answer, tuple) else (answer, {"message": f"said {answer}"})
            content = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = do_DELETE = answer

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    settings = client.Configuration(host=f"http://127.0.0.1:{server.server_address[1]}")
    settings.retries = False
    try:
        yield client.ApiClient(settings), asked
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
