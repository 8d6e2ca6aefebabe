"""The HTTP client of one server for code that is not asynchronous."""

import asyncio
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Any, TypeVar

from openthoughts_dagster.generation.servers.failures import failure_of
from openthoughts_dagster.generation.servers.http_client import HttpClient, HttpReply
from openthoughts_dagster.generation.servers.retry_policy import RetryPolicy
from openthoughts_dagster.recipe import Retry

T = TypeVar("T")


class BlockingHttpClient:
    """The client with its retry policy for code that is not asynchronous; a context manager.

    Example:
        with BlockingHttpClient(url, key, settings.retry) as server:
            reply = server.post("/embeddings", {"model": "m", "input": ["text"]})
    """

    def __init__(self, url: str, key: str | None, retry: Retry) -> None:
        self._url, self._key, self._retry = url, key, retry
        self._runner, self._thread = asyncio.Runner(), ThreadPoolExecutor(1)

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
        self._thread.submit(self._runner.close).result()
        self._thread.shutdown()

    def post(self, path: str, body: Any) -> HttpReply:
        """Return the reply of status 200 to a JSON body; retries as the settings say.

        Raises:
            RequestFailed: The request was given up; the message says why and names the setting that decided.
            FatalServerError: The server refuses the key, the model or the account.
        """

        async def attempt() -> HttpReply:
            reply = await self._client.post(path, body)
            if reply.status != 200:
                raise failure_of(reply, answers_others=False)
            return reply

        return self._run(self._policy.ask(attempt))[0]

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        return self._thread.submit(self._runner.run, work).result()
