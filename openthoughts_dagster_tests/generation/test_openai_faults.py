"""A server that misbehaves costs no completion and no run: it is asked again, waited for, or its refusal is a row."""

import asyncio
import time
from email.utils import formatdate
from typing import Any

import pytest
from aiohttp import web

from openthoughts_dagster.generation.engine import EngineDied, EngineError
from openthoughts_dagster.generation.engines.openai_start import start_openai
from openthoughts_dagster.generation.requests import Completion, Prompt
from openthoughts_dagster.recipe import Retry, Sampling
from openthoughts_dagster_tests.generation.asking import requests_for
from openthoughts_dagster_tests.generation.faulty_server import (
    BRIEF,
    ask,
    chat,
    refusal,
    scripted,
    served_model,
    serving,
)

MANY = [Prompt(f"{n} + {n}?") for n in range(12)]


async def _drops_before_its_answer(request: web.Request) -> web.StreamResponse:
    assert request.transport is not None
    request.transport.abort()
    return web.Response()


async def _drops_in_the_middle(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Type": "application/json", "Content-Length": "4000"})
    await response.prepare(request)
    await response.write(b'{"choices": [{"mess')
    assert request.transport is not None
    request.transport.abort()
    return response


async def _hangs(request: web.Request) -> web.StreamResponse:
    await asyncio.sleep(30)
    return chat()


async def _hangs_in_the_middle(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Type": "application/json", "Content-Length": "4000"})
    await response.prepare(request)
    await response.write(b'{"choices": [{"mess')
    await asyncio.sleep(30)
    return response


BROKEN: dict[str, Any] = {
    "a server error": refusal(500, "out of memory"),
    "a bad gateway in HTML": web.Response(body=b"<html>502 Bad Gateway</html>", status=502, content_type="text/html"),
    "HTML with status 200": web.Response(body=b"<html>Please log in</html>", content_type="text/html"),
    "JSON that is cut off": web.Response(
        body=b'{"choices": [{"message": {"content": "4', content_type="application/json"
    ),
    "an empty body": web.Response(body=b""),
    "no choice": web.json_response({"choices": [], "usage": None}),
    "no choices at all": web.json_response(["what"]),
    "a choice without text": web.json_response({"choices": [{"index": 0, "finish_reason": "stop"}]}),
    "an error with status 200": web.json_response({"error": {"message": "upstream timed out", "code": 504}}),
    "an aborted answer": chat("", "abort"),
    "neither text nor a finish reason": chat(None, None),
    "a connection that drops before the answer": _drops_before_its_answer,
    "a connection that drops in the middle": _drops_in_the_middle,
    "a time-out of a proxy": refusal(408),
}


@pytest.mark.parametrize("reply", BROKEN.values(), ids=BROKEN.keys())
def test_a_broken_attempt_is_made_again_and_counted(reply: Any) -> None:
    [completion], asked = ask(scripted(reply, reply, chat("4")))

    assert (completion.text, completion.error, completion.retries, len(asked)) == ("4", None, 2, 3)
    # after a gateway's time-out the answer is streamed
    first, *again = [{name: body[name] for name in body if not name.startswith("stream")} for body in asked]
    assert [first, first] == again
    assert (completion.prompt_tokens, completion.completion_tokens, completion.cached_tokens) == (3, 2, 1)


@pytest.mark.parametrize("reply", BROKEN.values(), ids=BROKEN.keys())
def test_attempts_that_all_break_end_in_a_row_that_says_so_and_the_others_go_on(reply: Any) -> None:
    async def breaks_for_one(number: int, request: web.Request) -> web.StreamResponse:
        unlucky = "7 + 7?" in (await request.json())["messages"][0]["content"]
        return await scripted(reply)(number, request) if unlucky else chat("4")

    completions, asked = ask(breaks_for_one, MANY)

    [failed] = [completion for completion in completions if completion.error is not None]
    assert (failed.finish_reason, failed.text, failed.permanent) == ("error", "", False)
    assert len(completions) == 12 and len(asked) == 12 + failed.retries
    # a server that is away is waited for, whatever the number of attempts
    assert failed.retries >= 2 if "502" in str(failed.error) else failed.retries == 2
    assert "retry." in str(failed.error) or "stream: always" in str(failed.error)


@pytest.mark.parametrize("hang", [_hangs, _hangs_in_the_middle])
def test_a_server_that_hangs_is_left_after_the_longest_time(hang: Any) -> None:
    retry = BRIEF.model_copy(update={"request_seconds": 0.2, "attempts": 7})
    [completion], asked = ask(scripted(hang), retry=retry)

    assert "no whole answer within 0.2 s: retry.request_seconds (given up after 3" in str(completion.error)
    assert not completion.permanent and len(asked) == 3  # the server may go on, and each attempt is paid for


@pytest.mark.parametrize("as_date", [False, True])
def test_retry_after_holds_back_every_request_of_the_server(as_date: bool) -> None:
    arrivals: list[float] = []

    async def busy_at_first(number: int, request: web.Request) -> web.StreamResponse:
        arrivals.append(time.time())
        if number == 0:
            clock = time.time() - 3600  # the server's, which is slow
            value = formatdate(clock + 2, usegmt=True) if as_date else "1.1"
            return refusal(429, "slow down", headers={"Retry-After": value, "Date": formatdate(clock, usegmt=True)})
        await asyncio.sleep(0.01)
        return chat()

    completions, _ = ask(busy_at_first, MANY, max_in_flight=2)

    assert all(completion.error is None for completion in completions)
    assert sum(completion.retries for completion in completions) == 1
    # one other request may have been on its way; an HTTP date has whole seconds
    assert len([arrival for arrival in arrivals if arrival < arrivals[0] + 0.95]) <= 2


def test_a_busy_server_is_waited_for_as_long_as_it_answers_others() -> None:
    start = time.monotonic()

    async def one_waits(number: int, request: web.Request) -> web.StreamResponse:
        unlucky = "7 + 7?" in (await request.json())["messages"][0]["content"]
        if unlucky and time.monotonic() < start + 1:
            return refusal(429, "slow down")
        await asyncio.sleep(0.05)
        return chat()

    completions, _ = ask(one_waits, [Prompt(f"{n} + {n}?") for n in range(60)], max_in_flight=3)

    assert [completion.error for completion in completions] == [None] * 60
    assert max(completion.retries for completion in completions) > BRIEF.attempts


def test_a_server_that_is_busy_for_everybody_is_given_up() -> None:
    start = time.monotonic()
    completions, _ = ask(scripted(refusal(429, "slow down")), MANY)

    assert {(c.finish_reason, c.permanent) for c in completions} == {("error", False)}
    assert all(str(c.error).startswith("HTTP 429: slow down") for c in completions)
    assert time.monotonic() - start < 10


def test_a_wait_longer_than_a_request_may_take_is_not_waited() -> None:
    [completion], asked = ask(scripted(refusal(429, "come back tomorrow", headers={"Retry-After": "86400"})))

    assert "come back tomorrow" in str(completion.error) and len(asked) == 1


PERMANENT: dict[str, Any] = {
    "a bad request": (refusal(400, "messages[0] is wrong", param="messages"), "error"),
    "a body too large": (refusal(413, "too large"), "error"),
    "a request that does not validate": (refusal(422, "seed: must be positive"), "error"),
    "a filtered prompt": (refusal(400, "filtered", code="content_filter"), "content_filter"),
    "a filtered answer": (chat("The", "content_filter"), "content_filter"),
    "a refusal": (chat(None, "stop", refusal="I cannot help with that"), "content_filter"),
}


@pytest.mark.parametrize(("reply", "reason"), PERMANENT.values(), ids=PERMANENT.keys())
def test_what_asking_again_cannot_help_is_a_permanent_row_at_once(reply: Any, reason: str) -> None:
    [good, refused], asked = ask(scripted(chat("4"), reply), MANY[:2], max_in_flight=1)

    assert good.error is None and not good.permanent
    assert refused.permanent and refused.error and refused.finish_reason == reason
    assert refused.retries == 0 and len(asked) == 2


def test_a_context_that_is_too_long_is_permanent_even_at_first() -> None:
    too_long = refusal(400, "This model's maximum context length is 100 tokens", code="context_length_exceeded")
    [refused], _ = ask(scripted(too_long))

    assert refused.permanent and "maximum context length" in str(refused.error)


@pytest.mark.parametrize("status", [400, 404, 422])
def test_a_server_that_refuses_from_the_start_may_be_set_up_wrongly_so_nothing_is_permanent(status: int) -> None:
    completions, asked = ask(scripted(refusal(status, "the model `m` does not exist")), MANY)

    assert all("does not exist" in str(c.error) and not c.permanent for c in completions)
    assert len(asked) == 12


@pytest.mark.parametrize(
    ("reply", "says"),
    [
        (refusal(401, "Incorrect API key"), "HTTP 401: Incorrect API key; it may want a key: set api_key_env"),
        (refusal(402, "Insufficient balance"), "HTTP 402: Insufficient balance"),
        (refusal(429, "You exceeded your quota", code="insufficient_quota"), "You exceeded your quota"),
        (web.Response(status=307, headers={"Location": "https://other/v1"}), "redirects to https://other/v1"),
    ],
)
def test_a_server_that_will_answer_nobody_stops_the_run(reply: Any, says: str) -> None:
    with pytest.raises(EngineError, match=says) as caught:
        ask(scripted(reply), MANY)
    assert not isinstance(caught.value, EngineDied)


def test_a_server_that_is_gone_is_a_dead_engine_and_what_it_answered_is_handed_on() -> None:
    async def run() -> tuple[list[Completion], BaseException | None]:
        completions: list[Completion] = []
        async with serving(scripted(chat("4"))) as (url, _):
            model = served_model(url, max_in_flight=1)
            engine = await start_openai(model)
            requests = requests_for(model, MANY, Sampling())
            answered = asyncio.Event()

            async def slowly() -> Any:
                for number, request in enumerate(requests):
                    if number == 5:
                        await answered.wait()
                    yield request

            generating = engine.generate(slowly())
            for _ in range(5):
                completions.append(await anext(generating))
        answered.set()
        try:
            completions += [completion async for completion in generating]
        except EngineError as error:
            return completions, error
        finally:
            await engine.close()
        return completions, None

    completions, error = asyncio.run(run())

    assert len(completions) == 5 and isinstance(error, EngineDied)
    assert "api: the server at http://127.0.0.1" in str(error) and "is gone: no connection" in str(error)


def test_a_server_that_was_never_there_says_what_to_do() -> None:
    with pytest.raises(EngineError, match=r"api: no server answers at http://127\.0\.0\.1:9/v1: start it, or correct"):
        asyncio.run(start_openai(served_model("http://127.0.0.1:9/v1")))


def test_waits_grow_but_not_beyond_the_longest() -> None:
    start = time.monotonic()
    retry = Retry(attempts=9, first_wait=0.02, longest_wait=0.05, patience=1, request_seconds=5)
    [completion], asked = ask(scripted(refusal(500)), retry=retry)

    assert completion.retries == 8 and len(asked) == 9
    assert time.monotonic() - start < 5
