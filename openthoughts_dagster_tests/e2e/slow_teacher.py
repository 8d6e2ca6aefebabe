"""A teacher behind an OpenAI-compatible server that takes its time and counts what it was asked: for killing runs."""

import json
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class SlowTeacher:
    """Answers every request after `seconds`, a few at a time. `asked` counts requests by prompt and seed."""

    def __init__(self, seconds: float) -> None:
        self.seconds, self.asked = seconds, Counter[str]()
        self.address = ""

    def reply(self, body: dict[str, Any]) -> dict[str, Any]:
        """The chat completion for a request."""
        self.asked[json.dumps([body["messages"], body.get("seed")])] += 1
        time.sleep(self.seconds)
        message = {"role": "assistant", "content": f"It is {len(str(body['messages']))}."}
        usage = {"prompt_tokens": 10, "completion_tokens": 5}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        return {"id": "1", "object": "chat.completion", "choices": [choice], "usage": usage}


@contextmanager
def slow_teacher(seconds: float = 0.5) -> Iterator[SlowTeacher]:
    """The teacher, served on a free port of loopback."""
    teacher = SlowTeacher(seconds)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            self._send(teacher.reply(body))

        def do_GET(self) -> None:
            self._send({"object": "list", "data": [{"id": "slow", "object": "model"}]})

        def _send(self, answer: dict[str, Any]) -> None:
            data = json.dumps(answer).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    teacher.address = f"http://127.0.0.1:{server.server_port}/v1"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield teacher
    finally:
        server.shutdown()
        server.server_close()
