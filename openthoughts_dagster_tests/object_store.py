"""An object store for tests: a real server of S3's protocol on loopback, that can also fail as it is told.

Run as a module it serves until it is stopped, for tests whose processes must not share one interpreter with it:
python -m openthoughts_dagster_tests.object_store PORT [BUCKET ...]
"""

import io
import logging
import signal
import ssl
import sys
import threading
import urllib.request
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from openthoughts_dagster_tests.loopback import serving

SECRET = "wJalrXUtnFEMI-secret-of-the-test"
KEYS = {"AWS_ACCESS_KEY_ID": "AKIAKEYOFTHETEST", "AWS_SECRET_ACCESS_KEY": SECRET, "AWS_REGION": "us-east-1"}
Fault = Callable[[str, str], str | None]


@dataclass(frozen=True)
class Certificate:
    """Files of an authority, and of a server's certificate by it."""

    authority: Path
    certificate: Path
    key: Path


@dataclass
class ObjectStore:
    """A running store. `requests` are (method, path) of all that it was asked.

    `fault`, when set, sees each of them and gives the HTTP status line with which to refuse it, such as
    "403 Forbidden", or None. With `overwrites` it ignores conditions of writes, as old stores do.
    """

    endpoint: str
    authority: Path | None = None
    requests: list[tuple[str, str]] = field(default_factory=list)
    keys_used: set[str] = field(default_factory=set)
    fault: Fault | None = None
    overwrites: bool = False

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
            verify=str(self.authority) if self.authority else None,
        )

    def emptied(self, *buckets: str) -> "ObjectStore":
        """Itself, with these buckets, empty, and no others; nothing asked yet and no fault."""
        self.fault, self.overwrites = None, False
        reset = urllib.request.Request(f"{self.endpoint}/moto-api/reset", method="POST")
        trusted = ssl.create_default_context(cafile=self.authority) if self.authority else None
        urllib.request.urlopen(reset, timeout=10, context=trusted).close()  # its buckets live as long as the process
        for bucket in buckets:
            self.client().create_bucket(Bucket=bucket)
        self.requests.clear()
        self.keys_used.clear()
        return self

    def keys(self, bucket: str) -> list[str]:
        """Keys of all objects of a bucket."""
        pages = self.client().get_paginator("list_objects_v2").paginate(Bucket=bucket)
        return [entry["Key"] for page in pages for entry in page.get("Contents", [])]


@contextmanager
def object_store(*buckets: str, port: int = 0, tls: Certificate | None = None) -> Iterator[ObjectStore]:
    """Serve S3 on loopback, with these buckets, until the end of the block."""
    from moto.server import DomainDispatcherApplication, create_backend_app
    from werkzeug.serving import make_server

    logging.getLogger("werkzeug").setLevel(logging.WARNING)
    store = ObjectStore("", tls.authority if tls else None)
    app = _gate(store, DomainDispatcherApplication(create_backend_app))
    context = (str(tls.certificate), str(tls.key)) if tls else None
    server = make_server("127.0.0.1", port, app, threaded=True, ssl_context=context)
    store.endpoint = f"{'https' if tls else 'http'}://127.0.0.1:{server.server_port}"
    with serving(server):
        yield store.emptied(*buckets)


def _gate(store: ObjectStore, app: Any) -> Any:
    one_at_a_time = threading.Lock()

    def answer(environment: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        method, path = environment["REQUEST_METHOD"], environment["PATH_INFO"]
        sent = environment.get("HTTP_AUTHORIZATION", "")
        store.requests.append((method, path))
        store.keys_used.add(sent.partition("Credential=")[2].partition("/")[0])
        if store.fault is not None and (status := store.fault(method, path)) is not None:
            start_response(status, [("Content-Type", "application/xml")])
            code = "AccessDenied" if status.startswith("403") else "InternalError"
            # like Amazon's, it repeats what it was sent
            return [f"<Error><Code>{code}</Code><Message>refused: {sent}</Message></Error>".encode()]
        if store.overwrites:
            environment.pop("HTTP_IF_NONE_MATCH", None)
        if method == "PUT" and "HTTP_IF_NONE_MATCH" in environment:
            # moto looks and then writes; S3 does both at once, which is what commits rely on
            with one_at_a_time:
                return list(app(environment, start_response))
        if method == "POST" and "Action=" in environment.get("QUERY_STRING", ""):
            # moto takes a call of STS from the body only
            call = environment.pop("QUERY_STRING").encode()
            environment |= {"wsgi.input": io.BytesIO(call), "CONTENT_LENGTH": str(len(call)), "QUERY_STRING": ""}
            environment["CONTENT_TYPE"] = "application/x-www-form-urlencoded"
        return app(environment, start_response)

    return answer


if __name__ == "__main__":
    # blocked before threads start, so that none of them takes the signal
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT})
    with object_store(*sys.argv[2:], port=int(sys.argv[1])):
        signal.sigwait({signal.SIGTERM, signal.SIGINT})
