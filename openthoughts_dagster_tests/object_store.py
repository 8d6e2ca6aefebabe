"""An object store for tests: a real server of S3's protocol on loopback, that can also fail as it is told.

Run as a module it serves until it is stopped, for tests whose processes must not share one interpreter with it:
python -m openthoughts_dagster_tests.object_store PORT
"""

import logging
import signal
import socket
import sys
import threading
import urllib.request
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

SECRET = "wJalrXUtnFEMI-secret-of-the-test"
KEYS = {"AWS_ACCESS_KEY_ID": "AKIAKEYOFTHETEST", "AWS_SECRET_ACCESS_KEY": SECRET, "AWS_REGION": "us-east-1"}
Fault = Callable[[str, str], str | None]


@dataclass
class ObjectStore:
    """A running store. `requests` are (method, path) of all that it was asked.

    `fault`, when set, sees each of them and gives the HTTP status line with which to refuse it, such as
    "403 Forbidden", or None.
    """

    endpoint: str
    requests: list[tuple[str, str]] = field(default_factory=list)
    fault: Fault | None = None

    @property
    def environment(self) -> dict[str, str]:
        """What a process needs to use it."""
        return KEYS | {"AWS_ENDPOINT_URL": self.endpoint, "AWS_ALLOW_HTTP": "true"}

    def client(self) -> Any:
        """A boto3 client of it."""
        import boto3

        return boto3.client(
            "s3",
            endpoint_url=self.endpoint,
            region_name="us-east-1",
            aws_access_key_id=KEYS["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=SECRET,
        )

    def emptied(self, *buckets: str) -> "ObjectStore":
        """Itself, with these buckets, empty, and no others; nothing asked yet and no fault."""
        self.fault = None
        reset = urllib.request.Request(f"{self.endpoint}/moto-api/reset", method="POST")
        urllib.request.urlopen(reset, timeout=10).close()  # its buckets live as long as the process
        for bucket in buckets:
            self.client().create_bucket(Bucket=bucket)
        self.requests.clear()
        return self

    def keys(self, bucket: str) -> list[str]:
        """Keys of all objects of a bucket."""
        pages = self.client().get_paginator("list_objects_v2").paginate(Bucket=bucket)
        return [entry["Key"] for page in pages for entry in page.get("Contents", [])]


@contextmanager
def object_store(*buckets: str, port: int = 0) -> Iterator[ObjectStore]:
    """Serve S3 on loopback, with these buckets, until the end of the block."""
    from moto.server import ThreadedMotoServer

    if not port:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
    logging.getLogger("werkzeug").setLevel(logging.WARNING)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=port, verbose=False)
    server.start()
    store = ObjectStore(f"http://127.0.0.1:{port}")
    assert server._server is not None
    server._server.app = _gate(store, server._server.app)
    try:
        store.emptied(*buckets)
        yield store
    finally:
        server.stop()


def _gate(store: ObjectStore, app: Any) -> Any:
    one_at_a_time = threading.Lock()

    def answer(environment: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        method, path = environment["REQUEST_METHOD"], environment["PATH_INFO"]
        store.requests.append((method, path))
        if store.fault is not None and (status := store.fault(method, path)) is not None:
            start_response(status, [("Content-Type", "application/xml")])
            code = "AccessDenied" if status.startswith("403") else "InternalError"
            # like Amazon's, it repeats what it was sent
            sent = environment.get("HTTP_AUTHORIZATION", "")
            return [f"<Error><Code>{code}</Code><Message>refused: {sent}</Message></Error>".encode()]
        if method == "PUT" and "HTTP_IF_NONE_MATCH" in environment:
            # moto looks and then writes; S3 does both at once, which is what commits rely on
            with one_at_a_time:
                return list(app(environment, start_response))
        return app(environment, start_response)

    return answer


if __name__ == "__main__":
    with object_store(*sys.argv[2:], port=int(sys.argv[1])):
        signal.sigwait({signal.SIGTERM, signal.SIGINT})
