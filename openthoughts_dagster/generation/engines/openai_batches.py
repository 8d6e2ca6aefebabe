"""The engine for the batches of OpenAI-compatible servers: files of requests that are answered within a day.

Batches outlive the process that made them. A process that is started again finds the batches of its requests by the
journal and the server's list, and takes their results; it asks nothing again that a batch holds.
"""

import asyncio
import json
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, TypeVar

from openthoughts_dagster.generation.batch_journal import BatchJournal, custom_id_of
from openthoughts_dagster.generation.engine import EngineDied, EngineError
from openthoughts_dagster.generation.engines.finishing import make_failure
from openthoughts_dagster.generation.engines.openai_engine import OpenaiEngine, describe_refusal
from openthoughts_dagster.generation.engines.openai_replies import read_reply
from openthoughts_dagster.generation.engines.prompts import InvalidPrompt
from openthoughts_dagster.generation.requests import Completion, Request
from openthoughts_dagster.generation.servers.failures import failure_of
from openthoughts_dagster.generation.servers.http_client import HttpReply
from openthoughts_dagster.generation.servers.retry_policy import FailureKind, FatalServerError, RequestFailed

T = TypeVar("T")

_LISTED = 100  # batches on a page of the server's list
_ENDED = frozenset({"completed", "failed", "expired", "cancelled", "canceled"})
_FILES = ("output_file_id", "error_file_id")


@dataclass
class _Batch:
    """A batch of the server, and those of its requests that this run waits for, by their custom ids."""

    id: str
    requests: dict[str, Request] = field(default_factory=dict)


class OpenaiBatchEngine(OpenaiEngine):
    """One model of one server, asked in batches."""

    _journal: BatchJournal

    def use_journal(self, journal: BatchJournal) -> None:
        """Take the record of earlier batches."""
        self._journal = journal

    def describe(self) -> dict[str, Any]:
        """Return the engine's description, which also says that it asks in batches."""
        return super().describe() | {"mode": "batch"}

    async def generate(self, requests: AsyncIterable[Request]) -> AsyncIterator[Completion]:
        """Yield the completions of `requests`, batch by batch. Batches go on when this generator is closed."""
        options = self._model.reference.batch
        earlier = await self._find_earlier()
        batches: dict[str, _Batch] = {}
        again: list[Request] = []
        groups = aiter(_groups(requests, options.requests))
        exhausted = False
        while batches or again or not exhausted:
            while len(batches) < options.at_once and (again or not exhausted):
                group, again = again[: options.requests], again[options.requests :]
                if not group and not (group := await anext(groups, [])):
                    exhausted = True
                    break
                for completion in await self._place(group, earlier, batches):
                    yield completion
            for batch in list(batches.values()):
                state = await self._ask(partial(self._get, f"/batches/{batch.id}"))
                if str(state.get("status")).lower() not in _ENDED:
                    continue
                del batches[batch.id]
                completions, refused = await self._results(batch, state, others=bool(batches))
                for completion in completions:
                    yield completion
                again += refused
                earlier = {name: id_ for name, id_ in earlier.items() if name not in batch.requests}
            if batches:
                await asyncio.sleep(options.poll_seconds)

    async def _find_earlier(self) -> dict[str, str]:
        """Return the batch of every request whose result the ledger lacks, by the request's custom id."""
        uploaded = await asyncio.to_thread(self._journal.uploaded, self._client.address)
        # The list is also asked for before the first batch: without it a batch could not be found after a crash.
        found = await self._ask(lambda: self._list(set(uploaded)))
        if not found:
            return {}
        committed = await asyncio.to_thread(self._journal.committed)
        earlier: dict[str, str] = {}
        for file, names in uploaded.items():
            for name in names if file in found else []:
                if (name, found[file]) in committed:
                    earlier.pop(name, None)
                else:
                    earlier[name] = found[file]
        return earlier

    async def _place(
        self, group: list[Request], earlier: dict[str, str], batches: dict[str, _Batch]
    ) -> list[Completion]:
        """Wait for the earlier batches of requests, and put the other requests into a new batch.

        Returns:
            The completions of requests that cannot be asked.
        """
        completions, bodies, new = [], dict[str, dict[str, Any]](), dict[str, Request]()
        for request in group:
            name = custom_id_of(request)
            if name in earlier:
                batches.setdefault(earlier[name], _Batch(earlier[name])).requests[name] = request
                continue
            self._check_guards(request)
            try:
                bodies[name] = self._parameters.apply(self._body(request))
                new[name] = request
            except InvalidPrompt as error:
                completions.append(make_failure(request, str(error), permanent=True))
        for names, content in self._files(bodies):
            batch = await self._submit(names, content)
            batches[batch] = _Batch(batch, {name: new[name] for name in names})
        return completions

    def _files(self, bodies: dict[str, dict[str, Any]]) -> list[tuple[list[str], bytes]]:
        """Split bodies into files that are no larger than the recipe says."""
        limit = self._model.reference.batch.megabytes * 2**20
        files: list[tuple[list[str], list[bytes]]] = []
        size = 0.0
        for name, body in bodies.items():
            line = {"custom_id": name, "method": "POST", "url": f"/v1{self._path}", "body": body}
            text = json.dumps(line, ensure_ascii=False).encode() + b"\n"
            if not files or size + len(text) > limit:
                files.append(([], []))
                size = 0
            files[-1][0].append(name)
            files[-1][1].append(text)
            size += len(text)
        return [(names, b"".join(lines)) for names, lines in files]

    async def _submit(self, names: list[str], content: bytes) -> str:
        """Upload the requests, record them, and make their batch; return its id."""
        fields, file = {"purpose": "batch"}, "openthoughts.jsonl"
        uploaded = await self._ask(lambda: self._checked(self._client.post_file("/files", fields, file, content)))
        input_file = str(uploaded.get("id"))
        await asyncio.to_thread(self._journal.record, self._client.address, input_file, names)
        body = {
            "input_file_id": input_file,
            "endpoint": f"/v1{self._path}",
            "completion_window": self._model.reference.batch.window,
            "metadata": {"made_by": "openthoughts", "model": self._model.reference.name},
        }
        tried = False

        async def create() -> str:
            nonlocal tried
            if tried and (found := await self._list({input_file})):
                return found[input_file]  # it was made, and only the reply was lost
            tried = True
            return str((await self._checked(self._client.post("/batches", body))).get("id"))

        batch = await self._ask(create)
        name = self._model.reference.name
        self._journal.log(f"{name}: {len(names):,} requests are in batch {batch} of {self._client.address}")
        return batch

    async def _results(
        self, batch: _Batch, state: dict[str, Any], others: bool
    ) -> tuple[list[Completion], list[Request]]:
        """Return the completions of a batch that has ended, answers first, and the requests to ask again.

        Requests are asked again if the server refused a parameter that can be left out or renamed, and if it refused
        the whole batch because of `others` of ours that it works on.
        """
        problem = _describe_end(state)
        if others and state.get("status") == "failed" and "limit" in problem:
            return [], list(batch.requests.values())
        answers, failures, again = list[Completion](), list[Completion](), list[Request]()
        left, seconds = dict(batch.requests), _seconds_of(state)
        for file in (state[name] for name in _FILES if state.get(name)):
            for line in await self._ask(partial(self._read_file, file, [])):
                if (request := left.pop(str(line.get("custom_id")), None)) is None:
                    continue
                completion = self._read_line(request, line, seconds)
                if completion is None:
                    again.append(request)
                else:
                    (failures if completion.error else answers).append(completion)
        failures += [
            make_failure(request, f"batch {batch.id} {problem}, without it", seconds) for request in left.values()
        ]
        counts = f"{len(answers):,} answers, {len(failures):,} failed"
        self._journal.log(f"{self._model.reference.name}: batch {batch.id} {problem}: {counts}")
        marks = {"batch": batch.id}
        return [replace(one, served=_add_marks(one.served, marks)) for one in (*answers, *failures)], again

    async def _read_file(self, file: str, broken: list[tuple[int, int]]) -> list[dict[str, Any]]:
        """Return the objects in the lines of a file of results; none if the server has deleted it.

        `broken` has how many lines were broken in the attempts before. If the whole file came, it is the same number
        again, and the other lines are paid answers.
        """
        reply, lines = await self._client.get_lines(f"/files/{file}/content")
        if reply.status not in (200, 404, 410):
            raise failure_of(reply, answers_others=False)
        objects = [line for line in lines if isinstance(line, dict)]
        if (lost := len(lines) - len(objects)) and broken[-1:] != [(lost, len(lines))]:
            broken.append((lost, len(lines)))
            raise RequestFailed(f"{lost:,} lines of the file {file} are no JSON objects", FailureKind.ATTEMPT_FAILED)
        return objects

    def _read_line(self, request: Request, line: dict[str, Any], seconds: float) -> Completion | None:
        """Return the completion in a line of results; None if the request is to be asked in another way."""
        response = line.get("response")
        if not isinstance(response, dict):
            error = line.get("error")
            said = error if isinstance(error, dict) else {}
            return make_failure(
                request, f"the batch gave no answer: {said.get('code')}: {said.get('message')}", seconds
            )
        body = response.get("body")
        status = response.get("status_code")
        reply = HttpReply(status if isinstance(status, int) else 0, {}, json.dumps(body)[:4000], body)
        try:
            if reply.status != 200:
                if self._parameters.learn(reply, request.sampling):
                    return None
                raise failure_of(reply, answers_others=True)
            return self._completion_of(request, self._body(request), read_reply(reply), seconds)
        except FatalServerError as error:
            return make_failure(request, str(error), seconds)
        except RequestFailed as error:
            return make_failure(request, str(error), seconds, permanent=error.permanent, reason=error.reason)

    async def _list(self, files: set[str]) -> dict[str, str]:
        """Return the ids of the server's batches that were made from `files`, by file."""
        found, after = dict[str, str](), ""
        while True:
            page = await self._get(f"/batches?limit={_LISTED}{after}")
            listed = [batch for batch in page.get("data") or [] if isinstance(batch, dict)]
            for batch in listed:
                if (file := batch.get("input_file_id")) in files:
                    found.setdefault(str(file), str(batch.get("id")))
            if not page.get("has_more") or not listed or files <= set(found):
                return found
            after = f"&after={listed[-1].get('id')}"

    async def _get(self, path: str) -> dict[str, Any]:
        return await self._checked(self._client.get(path))

    async def _checked(self, asked: Awaitable[HttpReply]) -> dict[str, Any]:
        """Return the JSON object of a reply. Raises RequestFailed or FatalServerError if it is a refusal."""
        reply = await asked
        if reply.status not in (200, 201) or not reply.object():
            raise failure_of(reply, answers_others=False)
        return reply.object()

    async def _ask(self, attempt: Callable[[], Awaitable[T]]) -> T:
        """Return what `attempt` returns, after retries. Raises EngineError if the server cannot be used."""
        name, address = self._model.reference.name, self._client.address
        try:
            answer, _ = await self._retry_policy.ask(attempt)
            return answer
        except FatalServerError as error:
            raise EngineError(describe_refusal(self._model, self._client, str(error))) from None
        except RequestFailed as error:
            if error.kind is FailureKind.UNREACHABLE:
                raise EngineDied(f"{name}: the server at {address} is gone: {error}") from None
            raise EngineError(
                f"{name}: {address} does not take batches as OpenAI's server does: {error}. Set mode: requests, or run "
                "it again later: batches that were made are found again"
            ) from None


async def _groups(requests: AsyncIterable[Request], most: int) -> AsyncIterator[list[Request]]:
    group: list[Request] = []
    async for request in requests:
        group.append(request)
        if len(group) == most:
            yield group
            group = []
    if group:
        yield group


def _add_marks(served: tuple[tuple[str, str], ...], marks: dict[str, str]) -> tuple[tuple[str, str], ...]:
    return tuple(sorted((dict(served) | marks).items()))


def _describe_end(state: dict[str, Any]) -> str:
    """Say how a batch ended, with the first of the server's errors."""
    errors = state.get("errors")
    listed = errors.get("data") if isinstance(errors, dict) else None
    first = next((error for error in listed or [] if isinstance(error, dict)), None)
    return f"ended as {state.get('status')}" + (f": {first.get('code')}: {first.get('message')}" if first else "")


def _seconds_of(state: dict[str, Any]) -> float:
    """Return how long a batch took; 0 if the server does not say it."""
    start, end = state.get("created_at"), state.get("completed_at") or state.get("expired_at")
    return float(max(0, end - start)) if isinstance(start, int) and isinstance(end, int) else 0.0
