"""Answers that come in parts are whole or are no answers."""

import json
from typing import Any

import pytest
from aiohttp import web

from openthoughts_dagster_tests.generation.faulty_server import (
    BRIEF,
    ask,
    refusal,
    scripted,
)


async def streamed(request: web.Request, *events: Any, ends: bool = True) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream; charset=utf-8"})
    await response.prepare(request)
    for event in events:
        await response.write(b"data: " + json.dumps(event).encode() + b"\n\n: ping\n\n")
    if ends:
        await response.write(b"data: [DONE]\n\n")
    return response


def piece(reason: str | None = None, **delta: Any) -> dict[str, Any]:
    return {"model": "m", "choices": [{"index": 0, "delta": delta, "finish_reason": reason}]}


def test_an_answer_is_streamed_after_a_gateway_timed_out() -> None:
    async def script(number: int, request: web.Request) -> web.StreamResponse:
        if not (await request.json()).get("stream"):
            return refusal(524, "A timeout occurred")
        usage = {"model": "m", "choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 9}}
        thought = [piece(role="assistant", content=""), piece(reasoning_content="2 and "), piece(reasoning_content="2")]
        return await streamed(request, *thought, piece(content="4 "), piece("stop", content="é"), usage)

    [completion], asked = ask(script)
    assert (completion.text, completion.finish_reason) == ("<think>2 and 2</think>4 é", "stop")
    assert (completion.prompt_tokens, completion.completion_tokens, completion.retries) == (3, 9, 1)
    assert asked[1]["stream_options"] == {"include_usage": True}


def test_a_stream_of_reasoning_in_parts_and_an_answer_in_text_is_joined() -> None:
    def thought(text: str) -> list[dict[str, Any]]:
        return [{"type": "thinking", "thinking": [{"type": "text", "text": text}]}]

    async def script(number: int, request: web.Request) -> web.StreamResponse:
        parts = [piece(content=""), piece(content=thought("2 and ")), piece(content=thought("2"))]
        return await streamed(request, *parts, piece(content="4 "), {"choices": 7}, piece("stop", content="é"))

    [completion], _ = ask(script, stream="always")
    assert (completion.text, completion.finish_reason) == ("<think>2 and 2</think>4 é", "stop")


def test_gateways_that_time_out_again_and_again_are_paid_three_times_and_not_more() -> None:
    [completion], asked = ask(
        scripted(refusal(524, "A timeout occurred")), retry=BRIEF.model_copy(update={"attempts": 7})
    )
    assert len(asked) == 3 and "each is paid for" in str(completion.error)


@pytest.mark.parametrize("ending", ["breaks", "error", "hole"])
def test_a_stream_that_breaks_off_is_no_answer(ending: str) -> None:
    async def script(number: int, request: web.Request) -> web.StreamResponse:
        if number == 0 and ending == "breaks":
            return await streamed(request, piece(content="4 "), ends=False)
        if number == 0 and ending == "hole":
            return await streamed(request, piece(content="4 "), "{'choices': [{'del", piece("stop", content="4"))
        if number == 0:
            return await streamed(request, piece(content="4 "), {"error": {"message": "worker died", "code": 500}})
        return await streamed(request, piece("stop", content="4"))

    [completion], asked = ask(script, stream="always")
    assert (completion.text, completion.error, completion.retries, len(asked)) == ("4", None, 1, 2)
