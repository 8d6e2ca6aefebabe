"""A server with the files and batches of OpenAI's API, which keeps what it is paid for and answers as a test says."""

import asyncio
import json
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from aiohttp import web

# Returns the line of a file of results for a line of the input, without its custom id.
Answer = Callable[[dict[str, Any]], dict[str, Any]]


def answer_line(line: dict[str, Any]) -> dict[str, Any]:
    """The result of a request that repeats its last message."""
    said = line["body"]["messages"][-1]["content"]
    choice = {"message": {"role": "assistant", "content": f"re: {said}"}, "finish_reason": "stop"}
    body = {"model": "m-2026", "choices": [choice], "usage": {"prompt_tokens": 1000, "completion_tokens": 2000}}
    return {"response": {"status_code": 200, "body": body}, "error": None}


def refuse_line(status: int, message: str, **error: Any) -> dict[str, Any]:
    """The result of a request that the server refused."""
    return {"response": {"status_code": status, "body": {"error": {"message": message, **error}}}, "error": None}


class BatchServer:
    """State of the server: `paid` counts how often each request was in a batch, by its custom id.

    `finish` lets batches end, `waits` after so many looks; before that they are in progress. `hold` keeps replies to
    new batches back, as a network does that breaks between a batch and its reply. `tear` replaces the last line of each
    file of results.
    """

    def __init__(self, answer: Answer = answer_line, page: int = 100) -> None:
        self.url = ""
        self.answer, self.page = answer, page
        self.files: dict[str, bytes] = {}
        self.batches: dict[str, dict[str, Any]] = {}
        self.paid: Counter[str] = Counter()
        self.bodies: list[dict[str, Any]] = []
        self.finish, self.hold = True, False
        self.waits: Counter[str] = Counter()
        self.statuses: dict[str, str] = {}
        self.errors: dict[str, Any] = {}
        self.tear = b""

    def lines(self, file: str) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.files[file].splitlines()]

    async def upload(self, request: web.Request) -> web.Response:
        form = await request.post()
        file = form["file"]
        assert form["purpose"] == "batch" and isinstance(file, web.FileField)
        name = f"file-{len(self.files)}"
        self.files[name] = file.file.read()
        return web.json_response({"id": name, "object": "file"})

    async def create(self, request: web.Request) -> web.Response:
        asked = await request.json()
        batch = {"id": f"batch_{len(self.batches)}", "status": "in_progress", "created_at": 100, **asked}
        self.batches[batch["id"]] = batch
        lines = self.lines(asked["input_file_id"])
        self.paid.update(line["custom_id"] for line in lines)
        self.bodies += [line["body"] for line in lines]
        while self.hold:
            await asyncio.sleep(0.01)
        return web.json_response(batch)

    async def listed(self, request: web.Request) -> web.Response:
        newest = list(reversed(self.batches.values()))
        names = [batch["id"] for batch in newest]
        start = names.index(request.query["after"]) + 1 if "after" in request.query else 0
        return web.json_response(
            {"data": newest[start : start + self.page], "has_more": start + self.page < len(newest)}
        )

    async def retrieve(self, request: web.Request) -> web.Response:
        batch = self.batches[request.match_info["name"]]
        self.waits[batch["id"]] -= 1
        if self.finish and self.waits[batch["id"]] < 0 and batch["status"] == "in_progress":
            batch |= {"status": self.statuses.get(batch["id"], "completed"), "completed_at": 160}
            if batch["status"] == "failed":
                batch["errors"] = {"data": [self.errors]}
            else:
                self._write_results(batch)
        return web.json_response(batch)

    def _write_results(self, batch: dict[str, Any]) -> None:
        """Write answers to one file and refusals to another, in no order, as OpenAI does."""
        lines = reversed(self.lines(batch["input_file_id"]))
        results = [{"custom_id": line["custom_id"], **answer} for line in lines if (answer := self.answer(line))]
        good = [result for result in results if (result["response"] or {}).get("status_code") == 200]
        bad = [result for result in results if result not in good]
        for kind, rows in (("output", good), ("error", bad)):
            if rows:
                batch[f"{kind}_file_id"] = f"{kind}-{batch['id']}"
                self.files[f"{kind}-{batch['id']}"] = b"".join(json.dumps(row).encode() + b"\n" for row in rows)

    async def content(self, request: web.Request) -> web.Response:
        found = self.files.get(request.match_info["name"])
        if self.tear and found is not None:
            found = b"".join(found.splitlines(keepends=True)[:-1]) + self.tear
        return web.Response(body=found) if found is not None else web.json_response({"error": "gone"}, status=404)

    @contextmanager
    def running(self) -> Iterator["BatchServer"]:
        """Serve in a thread while the block runs."""
        loop, ready, stop = asyncio.new_event_loop(), threading.Event(), asyncio.Event()

        async def serve() -> None:
            app = web.Application(client_max_size=2**28)
            app.add_routes(
                [
                    web.post("/v1/files", self.upload),
                    web.post("/v1/batches", self.create),
                    web.get("/v1/batches", self.listed),
                    web.get("/v1/batches/{name}", self.retrieve),
                    web.get("/v1/files/{name}/content", self.content),
                ]
            )
            runner = web.AppRunner(app, shutdown_timeout=0.1)
            await runner.setup()
            site = web.TCPSite(runner, "127.0.0.1", 0)
            await site.start()
            assert site._server is not None
            self.url = f"http://127.0.0.1:{site._server.sockets[0].getsockname()[1]}/v1"  # type: ignore[attr-defined]
            ready.set()
            await stop.wait()
            await runner.cleanup()

        thread = threading.Thread(target=loop.run_until_complete, args=(serve(),))
        thread.start()
        try:
            assert ready.wait(30)
            yield self
        finally:
            self.hold = False
            loop.call_soon_threadsafe(stop.set)
            thread.join()
            loop.close()
