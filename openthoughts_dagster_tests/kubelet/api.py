"""The API server in plain dictionaries: what a kubelet reads, watches and patches."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import urllib3

Json = dict[str, Any]
_MERGE = "application/strategic-merge-patch+json"


class ApiError(Exception):
    """The API server refused; `status` is the HTTP status, 0 when it could not be reached."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(f"{status}: {message}")
        self.status = status


class Api:
    """A client that many threads may share."""

    def __init__(self, address: str, certificate: Path, token: str) -> None:
        self._address = address
        self._headers = {"Authorization": f"Bearer {token}"}
        self._pool = urllib3.PoolManager(ca_certs=str(certificate), maxsize=16, retries=False)

    def get(self, path: str) -> Json:
        """An object or a list."""
        return self._request("GET", path)

    def post(self, path: str, body: Json) -> Json:
        """Create."""
        return self._request("POST", path, body)

    def put(self, path: str, body: Json) -> Json:
        """Replace."""
        return self._request("PUT", path, body)

    def patch(self, path: str, body: Json) -> Json:
        """A strategic merge patch."""
        return self._request("PATCH", path, body, _MERGE)

    def delete(self, path: str, body: Json) -> Json:
        """Delete."""
        return self._request("DELETE", path, body)

    def watch(self, path: str, version: str, seconds: int = 30) -> Iterator[Json]:
        """Events since a resource version, for some seconds."""
        query = f"watch=1&resourceVersion={version}&timeoutSeconds={seconds}&allowWatchBookmarks=true"
        try:
            address = f"{self._address}{path}{'&' if '?' in path else '?'}{query}"
            reply = self._pool.request(
                "GET", address, headers=self._headers, preload_content=False, timeout=urllib3.Timeout(5, seconds + 10)
            )
            try:
                if reply.status >= 300:
                    raise ApiError(reply.status, reply.data.decode(errors="replace")[:500])
                rest = b""
                for chunk in reply.stream(None):
                    *lines, rest = (rest + chunk).split(b"\n")
                    for line in lines:
                        event = json.loads(line)
                        if event["type"] == "ERROR":
                            raise ApiError(event["object"].get("code", 410), str(event["object"].get("message")))
                        yield event
            finally:
                reply.close()
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise ApiError(0, str(error)) from error

    def _request(self, method: str, path: str, body: Json | None = None, kind: str = "application/json") -> Json:
        try:
            reply = self._pool.request(
                method,
                self._address + path,
                body=None if body is None else json.dumps(body).encode(),
                headers=self._headers | {"Content-Type": kind},
                timeout=urllib3.Timeout(3, 20),
            )
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise ApiError(0, str(error)) from error
        if reply.status >= 300:
            raise ApiError(reply.status, reply.data.decode(errors="replace")[:500])
        found: Json = json.loads(reply.data)
        return found


def now() -> str:
    """This second, as Kubernetes writes it."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def now_micro() -> str:
    """This microsecond, as leases write it."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
