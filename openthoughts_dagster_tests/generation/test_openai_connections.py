"""Proxies, headers and event loops between a server and its client."""

import asyncio

import pytest

from openthoughts_dagster.generation.engine import EngineError
from openthoughts_dagster.generation.engines.openai_start import start_openai
from openthoughts_dagster.generation.requests import Prompt
from openthoughts_dagster.generation.servers.blocking_client import BlockingHttpClient
from openthoughts_dagster.generation.servers.http_client import post_json
from openthoughts_dagster.recipe import Sampling
from openthoughts_dagster_tests.generation.faulty_server import (
    BRIEF,
    ask,
    chat,
    completions_of,
    scripted,
    served_model,
    serving_in_thread,
)


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_proxy_that_refuses_is_named_without_its_password(scheme: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        writer.close()

    async def run() -> None:
        proxy = await asyncio.start_server(refuse, "127.0.0.1", 0)
        monkeypatch.setenv(f"{scheme}_proxy", f"http://me:pa55@127.0.0.1:{proxy.sockets[0].getsockname()[1]}")
        model = served_model(f"{scheme}://api.example.org/v1")
        engine = await start_openai(model)
        try:
            await completions_of(engine, model, [Prompt("0 + 0?")], Sampling())
        finally:
            await engine.close()
            proxy.close()

    with pytest.raises(EngineError, match="407") as caught:
        asyncio.run(run())
    assert "pa55" not in str(caught.value) and ("the proxy 127.0.0.1" in str(caught.value) or scheme == "http")


def test_headers_of_many_kilobytes_are_read() -> None:
    reply = chat("4")
    reply.headers["Content-Security-Policy"] = "x" * 20_000
    [completion], _ = ask(scripted(reply))
    assert completion.error is None


def test_clients_for_code_that_is_not_asynchronous_work_inside_an_event_loop() -> None:
    """A notebook runs one, and so does a browser that a test drives."""

    async def as_in_a_notebook(url: str) -> list[int]:
        with BlockingHttpClient(url, None, BRIEF) as server:
            first = server.post("/chat/completions", {})
        return [first.status, post_json(f"{url}/chat/completions", {}, 5).status]

    with serving_in_thread(scripted(chat())) as (url, asked):
        assert asyncio.run(as_in_a_notebook(url)) == [200, 200] and asked == [{}, {}]
