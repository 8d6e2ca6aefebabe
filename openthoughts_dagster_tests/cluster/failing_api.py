"""An API server that fails as it is told, for what a real one does only now and then."""

from collections.abc import Iterator
from contextlib import contextmanager
from http.server import ThreadingHTTPServer
from typing import Any

from openthoughts_dagster_tests.loopback import QuietHandler, serving

Answer = int | dict[str, Any] | tuple[int, dict[str, Any]]


@contextmanager
def failing_api(*answers: Answer) -> Iterator[tuple[Any, list[str]]]:
    """A client of it, and the requests so far. `answers` in their order: a status, 0 to hang up, an object, or both."""
    from kubernetes import client

    left, asked = list(answers), list[str]()

    class Handler(QuietHandler):
        def answer(self) -> None:
            asked.append(f"{self.command} {self.path.partition('?')[0]}")
            self.read()
            answer = left.pop(0)
            if answer == 0:
                self.connection.close()
                return
            if isinstance(answer, dict):
                answer = (200, answer)
            status, body = answer if isinstance(answer, tuple) else (answer, {"message": f"said {answer}"})
            self.send_json(status, body)

        do_GET = do_POST = do_DELETE = answer

    with serving(ThreadingHTTPServer(("127.0.0.1", 0), Handler)) as server:
        settings = client.Configuration(host=f"http://127.0.0.1:{server.server_port}")
        settings.retries = False
        yield client.ApiClient(settings), asked
