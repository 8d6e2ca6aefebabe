"""HTTP to one server, with its failures told apart and its key kept to itself."""

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from openthoughts_dagster.generation.engines.retry_policy import Kind, RequestFailed

_CONNECT_SECONDS = 10
_KEEP_SECONDS = 3  # less than servers keep an idle connection (uvicorn: 5), or a request meets one that just closed


class Server:
    """The connections to one server. Its key goes into the headers of requests and nowhere else.

    aiohttp and not the client of the package openai: the same request costs a fraction of the processor time, and
    no retry is made that is not counted.
    """

    def __init__(self, url: str, key: str | None, request_seconds: float) -> None:
        import aiohttp

        parts = urlsplit(url)
        self._url, self._key, self._seconds = url.rstrip("/"), key, request_seconds
        self.address = f"{parts.scheme}://{parts.hostname}" + (f":{parts.port}" if parts.port else "") + parts.path
        self._proxy = None if proxy_bypass(parts.hostname or "") else getproxies().get(parts.scheme)
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=_KEEP_SECONDS),
            headers={"Content-Type": "application/json"} | ({"Authorization": f"Bearer {key}"} if key else {}),
            timeout=aiohttp.ClientTimeout(total=request_seconds, sock_connect=_CONNECT_SECONDS),
        )

    async def close(self) -> None:
        """Close the connections."""
        await self._session.close()

    async def get(self, path: str, below_v1: bool = True) -> tuple[int, dict[str, Any]]:
        """Status and JSON object at a path; empty where there is none. Raises RequestFailed when nobody answers."""
        import aiohttp

        url = self._at(path, below_v1)
        timeout = aiohttp.ClientTimeout(total=_CONNECT_SECONDS)
        async with (
            self._failures_told(_CONNECT_SECONDS),
            self._session.get(url, proxy=self._proxy, timeout=timeout) as reply,
        ):
            payload = await reply.read()
        try:
            body = json.loads(payload)
        except ValueError:
            body = None
        return reply.status, body if isinstance(body, dict) else {}

    async def post(self, path: str, body: Any, below_v1: bool = True) -> tuple[int, Mapping[str, str], bytes]:
        """Status, headers and body of a reply. Raises RequestFailed when there is none within the longest time."""
        url, data = self._at(path, below_v1), json.dumps(body, ensure_ascii=False).encode()
        async with (
            self._failures_told(self._seconds),
            self._session.post(url, data=data, proxy=self._proxy, allow_redirects=False) as reply,
        ):
            payload = await reply.read()
        if self._key is not None:  # some servers repeat it in their refusals
            payload = payload.replace(self._key.encode(), b"[the key]")
        return reply.status, reply.headers, payload

    def _at(self, path: str, below_v1: bool) -> str:
        return (self._url if below_v1 else self._url.removesuffix("/v1")) + path

    @asynccontextmanager
    async def _failures_told(self, seconds: float) -> AsyncIterator[None]:
        import aiohttp

        try:
            yield
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
            raise RequestFailed(f"no connection: {error}", Kind.GONE) from None
        except TimeoutError:
            raise RequestFailed(f"no whole answer within {seconds:g} s", Kind.BROKEN) from None
        except (aiohttp.ClientError, OSError) as error:
            problem = f"the connection broke: {type(error).__name__}: {error}"
            raise RequestFailed(problem, Kind.BROKEN) from None
