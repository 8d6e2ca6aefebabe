"""A teacher behind an OpenAI-compatible server that takes its time and counts what it was asked: for killing runs.

    python slow_teacher.py PORT

serves it for others, who set `seconds` by POST /seconds and read what was `asked` by GET /asked (`RemoteTeacher`).
"""

import json
import sys
import threading
import time
import urllib.request
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


class RemoteTeacher:
    """A slow teacher in another process, whose server is at `address`."""

    def __init__(self, address: str) -> None:
        self._address = address

    @property
    def asked(self) -> Counter[str]:
        """Requests by prompt and seed."""
        with urllib.request.urlopen(f"{self._address}/asked", timeout=30) as reply:
            return Counter(json.load(reply))

    @property
    def seconds(self) -> float:
        """How long it takes."""
        with urllib.request.urlopen(f"{self._address}/seconds", timeout=30) as reply:
            return float(json.load(reply))

    @seconds.setter
    def seconds(self, seconds: float) -> None:
        request = urllib.request.Request(f"{self._address}/seconds", json.dumps(seconds).encode())
        urllib.request.urlopen(request, timeout=30).close()


def server_of(teacher: SlowTeacher, host: str, port: int) -> ThreadingHTTPServer:
    """A server for the teacher; port 0 stands for a free one."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            if self.path == "/seconds":
                teacher.seconds = float(body)
                self._send({})
            else:
                self._send(teacher.reply(body))

        def do_GET(self) -> None:
            models = {"object": "list", "data": [{"id": "slow", "object": "model"}]}
            known = {"/asked": teacher.asked, "/seconds": teacher.seconds}
            self._send(known.get(self.path, models))

        def _send(self, answer: Any) -> None:
            data = json.dumps(answer).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: object) -> None: ...

    return ThreadingHTTPServer((host, port), Handler)


@contextmanager
def slow_teacher(seconds: float = 0.5) -> Iterator[SlowTeacher]:
    """The teacher, served on a free port of loopback."""
    teacher = SlowTeacher(seconds)
    server = server_of(teacher, "127.0.0.1", 0)
    teacher.address = f"http://127.0.0.1:{server.server_port}/v1"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield teacher
    finally:
        server.shutdown()
        server.server_close()


if __name__ == "__main__":
    server_of(SlowTeacher(0.4), "", int(sys.argv[1])).serve_forever()
