"""The HTTP client of one server: it follows no redirect, classifies failures, and does not reveal the key."""

import asyncio
import json
from collections.abc import AsyncIterator, Coroutine, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, TypeVar
from urllib.parse import unquote, urlsplit
from urllib.request import getproxies, proxy_bypass

from openthoughts_dagster.generation.servers.retry_policy import FailureKind, RequestFailed
from openthoughts_dagster.generation.servers.secrets import SecretScrubber

T = TypeVar("T")

_CONNECT_SECONDS = 10
_KEEP_SECONDS = 3  # shorter than servers keep idle connections (uvicorn: 5), so that none is used that just closed
_HEADER_BYTES = 64 * 1024  # gateways add headers of more than aiohttp's limit of 8 kB
_EVENT_BYTES = 2**26


@dataclass(frozen=True)
class HttpReply:
    """A reply without our key in its texts. `body` is its JSON, or None if it is not JSON."""

    status: int
    headers: Mapping[str, str]
    text: str
    body: Any = None

    def object(self) -> dict[str, Any]:
        """The JSON object in the body; an empty one if there is none."""
        return self.body if isinstance(self.body, dict) else {}


class HttpClient:
    """The connections to one server. Its key goes into the headers of requests and nowhere else.

    It uses aiohttp and not the client of the package openai, because a request then costs a fraction of the processor
    time, and every retry is counted.
    """

    def __init__(self, url: str, key: str | None, request_seconds: float) -> None:
        import aiohttp

        parts = urlsplit(url)
        self._url, self._seconds = url.rstrip("/"), request_seconds
        self.address = f"{parts.scheme}://{parts.hostname}" + (f":{parts.port}" if parts.port else "") + parts.path
        proxy = urlsplit("" if proxy_bypass(parts.hostname or "") else getproxies().get(parts.scheme) or "")
        self._login, _, self._proxy = proxy.netloc.rpartition("@")
        self._scrubber = SecretScrubber([key, unquote(proxy.password or "")])
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=_KEEP_SECONDS),
            proxy=proxy.geturl() or None,
            headers={"Content-Type": "application/json"} | ({"Authorization": f"Bearer {key}"} if key else {}),
            timeout=aiohttp.ClientTimeout(total=request_seconds, sock_connect=_CONNECT_SECONDS),
            max_line_size=_HEADER_BYTES,
            max_field_size=_HEADER_BYTES,
            read_bufsize=2**20,
        )

    async def close(self) -> None:
        """Close the connections."""
        await self._session.close()

    async def get(self, path: str, below_v1: bool = True) -> HttpReply:
        """Return the reply at a path. Raises RequestFailed if the server does not answer."""
        import aiohttp

        timeout = aiohttp.ClientTimeout(total=_CONNECT_SECONDS)
        async with (
            self._failures_told(_CONNECT_SECONDS, FailureKind.ATTEMPT_FAILED),
            self._session.get(self._at(path, below_v1), timeout=timeout, allow_redirects=False) as reply,
        ):
            return self._read(reply.status, reply.headers, await reply.read())

    async def post(self, path: str, body: Any, below_v1: bool = True) -> HttpReply:
        """Return the reply to a JSON body. Raises RequestFailed if it does not come in time."""
        async with self._posted(path, body, below_v1) as reply:
            return self._read(reply.status, reply.headers, await reply.read())

    async def post_file(self, path: str, fields: Mapping[str, str], name: str, content: bytes) -> HttpReply:
        """Return the reply to a form with a file. Raises RequestFailed if it does not come in time."""
        import aiohttp

        form = aiohttp.FormData(fields)
        form.add_field("file", content, filename=name, content_type="application/jsonl")
        payload = form()
        async with (
            self._failures_told(self._seconds, FailureKind.ATTEMPT_FAILED),
            self._session.post(
                self._at(path, below_v1=True),
                data=payload,
                headers={"Content-Type": str(payload.content_type)},
                allow_redirects=False,
            ) as reply,
        ):
            return self._read(reply.status, reply.headers, await reply.read())

    async def get_lines(self, path: str) -> tuple[HttpReply, list[Any]]:
        """Return the reply at a path and the JSON in its lines; the reply has a text if it is a refusal.

        A line that is not JSON is None. Raises RequestFailed if the file does not come in time.
        """
        async with (
            self._failures_told(self._seconds, FailureKind.ATTEMPT_FAILED),
            self._session.get(self._at(path, below_v1=True), allow_redirects=False) as reply,
        ):
            if reply.status != 200:
                return self._read(reply.status, reply.headers, await reply.read()), []
            lines = [self._decoded(line.decode("utf-8", "replace")) async for line in _lines(reply.content) if line]
        return HttpReply(200, {}, ""), lines

    async def post_streamed(self, path: str, body: Any) -> tuple[HttpReply, list[dict[str, Any]] | None]:
        """Return the reply to a JSON body and its server-sent events; None for the events of an ordinary reply."""
        async with self._posted(path, body, below_v1=True) as reply:
            if reply.status != 200 or "text/event-stream" not in reply.headers.get("Content-Type", ""):
                return self._read(reply.status, reply.headers, await reply.read()), None
            events: list[dict[str, Any]] = []
            ended = False
            async for line in _lines(reply.content):
                name, _, data = line.partition(b":")
                if name != b"data":
                    continue
                if data.strip() == b"[DONE]":
                    ended = True
                    break
                if not data.strip():
                    continue
                event = self._decoded(text := data.decode("utf-8", "replace"))
                if not isinstance(event, dict):  # without it the answer would have a hole
                    said = self._scrubber.scrub(text.strip()[:300])
                    problem = f"an event of the stream is no JSON object: {said}"
                    raise RequestFailed(problem, FailureKind.ATTEMPT_FAILED)
                events.append(event)
            closed = HttpReply(200, self._scrubbed(reply.headers), "[DONE]" if ended else "")
            return closed, events

    @asynccontextmanager
    async def _posted(self, path: str, body: Any, below_v1: bool) -> AsyncIterator[Any]:
        data = json.dumps(body, ensure_ascii=False).encode()
        async with (
            self._failures_told(self._seconds, FailureKind.TIMED_OUT),
            self._session.post(self._at(path, below_v1), data=data, allow_redirects=False) as reply,
        ):
            yield reply

    def _read(self, status: int, headers: Mapping[str, str], payload: bytes) -> HttpReply:
        text = payload.decode("utf-8", "replace")
        return HttpReply(status, self._scrubbed(headers), self._scrubber.scrub(text), self._decoded(text))

    def _decoded(self, text: str) -> Any:
        """Decode the JSON in a text, then remove secrets: escapes could hide a key in the undecoded text."""
        try:
            return self._scrubber.scrub_json(json.loads(text))
        except (ValueError, RecursionError):
            return None

    def _scrubbed(self, headers: Mapping[str, str]) -> Mapping[str, str]:
        return {name.lower(): self._scrubber.scrub(value) for name, value in headers.items()}

    def _at(self, path: str, below_v1: bool) -> str:
        return (self._url if below_v1 else self._url.removesuffix("/v1")) + path

    @asynccontextmanager
    async def _failures_told(self, seconds: float, in_time: FailureKind) -> AsyncIterator[None]:
        """Raise RequestFailed for errors of the connection, of the kind `in_time` if `seconds` have passed."""
        import aiohttp

        try:
            yield
        except aiohttp.ClientHttpProxyError as error:
            # The error itself has the address of the proxy with its password.
            problem = f"the proxy {self._proxy} refuses the connection: HTTP {error.status} {error.message}"
            raise RequestFailed(self._scrubber.scrub(problem), FailureKind.ATTEMPT_FAILED) from None
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
            to = " to the proxy" if isinstance(error, aiohttp.ClientProxyConnectionError) else ""
            raise RequestFailed(self._scrubber.scrub(f"no connection{to}: {error}"), FailureKind.UNREACHABLE) from None
        except TimeoutError:
            raise RequestFailed(f"no whole answer within {seconds:g} s: retry.request_seconds", in_time) from None
        except (aiohttp.ClientError, OSError) as error:
            problem = f"the connection broke: {type(error).__name__}: {error}"
            problem = problem.replace(f"{self._login}@", "") if self._login else problem
            raise RequestFailed(self._scrubber.scrub(problem), FailureKind.ATTEMPT_FAILED) from None


def post_json(url: str, body: Any, seconds: float) -> HttpReply:
    """Post JSON to an address once, without a key, retries or redirects, from code that is not asynchronous.

    Raises:
        RequestFailed: The reply does not come in time.
    """

    async def post() -> HttpReply:
        client = HttpClient(url, None, seconds)
        try:
            return await client.post("/" if url.endswith("/") else "", body)
        finally:
            await client.close()

    return run_to_end(post())


def run_to_end(work: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine from code that is not asynchronous, in a thread: a notebook has an event loop in its own."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, work).result()


async def _lines(content: Any) -> AsyncIterator[bytes]:
    """Yield the lines of a stream, however long: a line of server-sent events may hold a whole answer."""
    rest = b""
    async for chunk in content.iter_any():
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            yield line.rstrip(b"\r")
        if len(rest) > _EVENT_BYTES:
            raise RequestFailed("an event of the stream is longer than 64 MiB", FailureKind.ATTEMPT_FAILED)
    if rest:
        yield rest
