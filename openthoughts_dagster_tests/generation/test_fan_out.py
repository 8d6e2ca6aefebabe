"""Requests stream in and completions stream out: bounded, without barriers, and nothing that ended is lost."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from openthoughts_dagster.generation.engines.fan_out import fan_out
from openthoughts_dagster.generation.requests import Completion, Request
from openthoughts_dagster.recipe import Sampling


def _request(number: int) -> Request:
    return Request("key", number, "prompt", Sampling())


def _completion(request: Request) -> Completion:
    return Completion(request, str(request.sample_index), "stop", 1, 1, 0.0)


async def _numbers(count: int) -> AsyncIterator[Request]:
    for number in range(count):
        yield _request(number)


def test_no_more_than_the_limit_is_taken_before_completions_are_handed_on() -> None:
    taken, in_flight, most = 0, 0, 0

    async def counted() -> AsyncIterator[Request]:
        nonlocal taken
        async for request in _numbers(200):
            taken += 1
            yield request

    async def complete(request: Request) -> Completion:
        nonlocal in_flight, most
        in_flight += 1
        most = max(most, in_flight)
        await asyncio.sleep(0.001 * (request.sample_index % 3))
        in_flight -= 1
        return _completion(request)

    async def run() -> list[int]:
        order = []
        async for completion in fan_out(counted(), 7, complete):
            order.append(completion.request.sample_index)
            assert taken <= len(order) + 7
        return order

    assert sorted(asyncio.run(run())) == list(range(200))
    assert most == 7


def test_a_slow_stream_of_requests_holds_back_no_completion() -> None:
    async def one_and_then_much_later() -> AsyncIterator[Request]:
        yield _request(0)
        await asyncio.sleep(60)

    async def complete(request: Request) -> Completion:
        return _completion(request)

    async def run() -> int:
        generating = fan_out(one_and_then_much_later(), 5, complete)
        first = await asyncio.wait_for(anext(generating), 5)
        await generating.aclose()  # type: ignore[attr-defined]
        return first.request.sample_index

    assert asyncio.run(run()) == 0


@pytest.mark.parametrize("source_fails", [False, True])
def test_what_has_ended_is_handed_on_before_an_error(source_fails: bool) -> None:
    canceled: list[int] = []

    async def requests() -> AsyncIterator[Request]:
        async for request in _numbers(10):
            yield request
        await asyncio.sleep(0.02)
        if source_fails:
            raise ValueError("broken")

    async def complete(request: Request) -> Completion:
        try:
            if request.sample_index == 9:
                await asyncio.sleep(60)
            if request.sample_index == 5 and not source_fails:
                await asyncio.sleep(0.05)
                raise ValueError("broken")
        except asyncio.CancelledError:
            canceled.append(request.sample_index)
            raise
        return _completion(request)

    async def run() -> list[int]:
        handed_on = []
        with pytest.raises(ValueError, match="broken"):
            async for completion in fan_out(requests(), 20, complete):
                handed_on.append(completion.request.sample_index)
        return handed_on

    assert sorted(asyncio.run(run())) == [n for n in range(9) if source_fails or n != 5]
    assert canceled == [9]


def test_leaving_early_cancels_what_is_in_flight_and_closes_the_stream() -> None:
    closed: list[str] = []

    async def requests() -> AsyncIterator[Request]:
        try:
            async for request in _numbers(1000):
                yield request
        finally:
            closed.append("stream")

    async def complete(request: Request) -> Completion:
        if request.sample_index == 0:
            return _completion(request)
        try:
            await asyncio.sleep(60)
        finally:
            closed.append("request")
        return _completion(request)

    async def run() -> int:
        generating = fan_out(requests(), 4, complete)
        await anext(generating)
        await generating.aclose()  # type: ignore[attr-defined]
        return len(asyncio.all_tasks())

    assert asyncio.run(run()) == 1
    assert closed.count("request") >= 3 and len(closed) <= 6
