"""HTTP to one server: no redirects, failures told apart, and its key kept to itself."""

import asyncio
import json
from collections.abc import AsyncIterator, Coroutine, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import Any, TypeVar
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from openthoughts_dagster.generation.servers.retry_policy import FailureKind, RequestFailed, RetryPolicy
from openthoughts_dagster.generation.servers.secrets import SecretScrubber
from openthoughts_dagster.recipe import Retry

T = TypeVar("T")

_CONNECT_SECONDS = 10
_KEEP_SECONDS = 3  # less than servers keep an idle connection (uvicorn: 5), or a request meets one that just closed
_HEADER_BYTES = 64 * 1024  # gateways add policies and traces of more than aiohttp's 8 kB
_EVENT_BYTES = 2**26


@dataclass(frozen=True)
class HttpReply:
    """A reply whose texts hold no key of ours. `body` is its JSON; None where it is none."""

    status: int
    headers: Mapping[str, str]
    text: str
    body: Any = None

    def object(self) -> dict[str, Any]:
        """The JSON object in the body; an empty one where there is none."""
        return self.body if isinstance(self.body, dict) else {}


class HttpClient:
    """The connections to one server. Its key goes into the headers of requests and nowhere else.

    aiohttp and not the client of the package openai: the same request costs a fraction of the processor time, and
    no retry is made that is not counted.
    """

    def __init__(self, url: str, key: str | None, request_seconds: float) -> None:
        import aiohttp

        parts = urlsplit(url)
        self._url, self._seconds = url.rstrip("/"), request_seconds
        self.address = f"{parts.scheme}://{parts.hostname}" + (f":{parts.port}" if parts.port else "") + parts.path
        self._proxy = None if proxy_bypass(parts.hostname or "") else getproxies().get(parts.scheme)
        self._scrubber = SecretScrubber([key, urlsplit(self._proxy or "").password])
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=_KEEP_SECONDS),
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
        """The reply at a path. Raises RequestFailed when nobody answers."""
        import aiohttp

        timeout = aiohttp.ClientTimeout(total=_CONNECT_SECONDS)
        async with (
            self._failures_told(_CONNECT_SECONDS),
            self._session.get(
                self._at(path, below_v1), proxy=self._proxy, timeout=timeout, allow_redirects=False
            ) as reply,
        ):
            return self._read(reply.status, reply.headers, await reply.read())

    async def post(self, path: str, body: Any, below_v1: bool = True) -> HttpReply:
        """The reply to a body of JSON. Raises RequestFailed when there is none within the longest time."""
        async with self._posted(path, body, below_v1) as reply:
            return self._read(reply.status, reply.headers, await reply.read())

    async def post_streamed(self, path: str, body: Any) -> tuple[HttpReply, list[dict[str, Any]] | None]:
        """The reply to a body of JSON, and the server-sent events in it; None where it is an ordinary reply."""
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
                event = self._decoded(data.decode("utf-8", "replace"))
                if isinstance(event, dict):
                    events.append(event)
            closed = HttpReply(200, self._scrubbed(reply.headers), "[DONE]" if ended else "")
            return closed, events

    @asynccontextmanager
    async def _posted(self, path: str, body: Any, below_v1: bool) -> AsyncIterator[Any]:
        data = json.dumps(body, ensure_ascii=False).encode()
        async with (
            self._failures_told(self._seconds),
            self._session.post(self._at(path, below_v1), data=data, proxy=self._proxy, allow_redirects=False) as reply,
        ):
            yield reply

    def _read(self, status: int, headers: Mapping[str, str], payload: bytes) -> HttpReply:
        text = payload.decode("utf-8", "replace")
        return HttpReply(status, self._scrubbed(headers), self._scrubber.scrub(text), self._decoded(text))

    def _decoded(self, text: str) -> Any:
        """The JSON in a text, scrubbed when it is decoded: escapes hide a key from whoever looks at the text."""
        try:
            return self._scrubber.scrub_json(json.loads(text))
        except (ValueError, RecursionError):
            return None

    def _scrubbed(self, headers: Mapping[str, str]) -> Mapping[str, str]:
        return {name.lower(): self._scrubber.scrub(value) for name, value in headers.items()}

    def _at(self, path: str, below_v1: bool) -> str:
        return (self._url if below_v1 else self._url.removesuffix("/v1")) + path

    @asynccontextmanager
    async def _failures_told(self, seconds: float) -> AsyncIterator[None]:
        import aiohttp

        try:
            yield
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
            raise RequestFailed(self._scrubber.scrub(f"no connection: {error}"), FailureKind.UNREACHABLE) from None
        except TimeoutError:
            problem = f"no whole answer within {seconds:g} s: retry.request_seconds"
            raise RequestFailed(problem, FailureKind.ATTEMPT_FAILED) from None
        except (aiohttp.ClientError, OSError) as error:
            problem = self._scrubber.scrub(f"the connection broke: {type(error).__name__}: {error}")
            raise RequestFailed(problem, FailureKind.ATTEMPT_FAILED) from None


class BlockingHttpClient:
    """The same client for code that is not asynchronous, with the retry policy around it. A context manager.

    Example:
        with BlockingHttpClient(url, key, settings.retry) as server:
            reply = server.post("/embeddings", {"model": "m", "input": ["text"]})
    """

    def __init__(self, url: str, key: str | None, retry: Retry) -> None:
        self._url, self._key, self._retry = url, key, retry
        self._runner = asyncio.Runner()

    def __enter__(self) -> "BlockingHttpClient":
        async def opened() -> tuple[HttpClient, RetryPolicy]:
            return HttpClient(self._url, self._key, self._retry.request_seconds), RetryPolicy(self._retry)

        self._client, self._policy = self._run(opened())
        self.address = self._client.address
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._run(self._client.close())
        self._runner.close()

    def post(self, path: str, body: Any) -> HttpReply:
        """The reply of status 200 to a body of JSON, asked again as the settings say.

        Raises:
            RequestFailed: It was given up; the message says why, and which setting decided.
            FatalServerError: The server refuses the key, the model or the account.
        """
        from openthoughts_dagster.generation.servers.failures import failure_of

        async def attempt() -> HttpReply:
            reply = await self._client.post(path, body)
            if reply.status != 200:
                raise failure_of(reply, answers_others=False)
            return reply

        return self._run(self._policy.ask(attempt))[0]

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        return self._runner.run(work)


async def _lines(content: Any) -> AsyncIterator[bytes]:
    """Lines of a stream, however long; a line of server-sent events may hold a whole answer."""
    rest = b""
    async for chunk in content.iter_any():
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            yield line.rstrip(b"\r")
        if len(rest) > _EVENT_BYTES:
            raise RequestFailed("an event of the stream is longer than 64 MiB", FailureKind.ATTEMPT_FAILED)
    if rest:
        yield rest
