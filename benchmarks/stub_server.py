"""An OpenAI-compatible server that answers at once: what remains is the client's own cost.

python stub_server.py    prints its address, serves until its standard input closes
"""

import asyncio
import sys
import time

from aiohttp import web

_ANSWER = "<think>" + "so many steps of reasoning, " * 20 + "</think>42"


async def _complete(request: web.Request) -> web.Response:
    asked = await request.json()
    chat = "messages" in asked
    choice = {"index": 0, "finish_reason": "stop", "logprobs": None}
    choice |= {"message": {"role": "assistant", "content": _ANSWER}} if chat else {"text": _ANSWER}
    return web.json_response(
        {
            "id": "1",
            "object": "chat.completion" if chat else "text_completion",
            "created": int(time.time()),
            "model": asked["model"],
            "choices": [choice],
            "usage": {"prompt_tokens": 60, "completion_tokens": 140, "total_tokens": 200},
        }
    )


async def _models(_: web.Request) -> web.Response:
    return web.json_response({"object": "list", "data": [{"id": "stub", "object": "model", "owned_by": "us"}]})


async def main() -> None:
    app = web.Application()
    app.router.add_post("/v1/chat/completions", _complete)
    app.router.add_post("/v1/completions", _complete)
    app.router.add_get("/v1/models", _models)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, backlog=1024)
    await site.start()
    port = site._server.sockets[0].getsockname()[1]  # type: ignore[union-attr]
    print(f"http://127.0.0.1:{port}/v1", flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(main())
