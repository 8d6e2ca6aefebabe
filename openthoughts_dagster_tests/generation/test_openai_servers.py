"""What servers of other makes do, and what it means: each as its server meant it, and nothing paid is lost."""

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from openthoughts_dagster.generation.engine import EngineError
from openthoughts_dagster.generation.engines.openai_start import start_openai
from openthoughts_dagster.generation.estimate import estimate, measure_rates
from openthoughts_dagster.generation.generate import generate, plan
from openthoughts_dagster.generation.ledger_writer import Purpose
from openthoughts_dagster.generation.model import locate
from openthoughts_dagster.generation.pool import EnginePool
from openthoughts_dagster.generation.reasoning import split_reasoning
from openthoughts_dagster.generation.requests import Completion, Prompt, completion_keys
from openthoughts_dagster.lake import COMPLETIONS, Lake
from openthoughts_dagster.recipe import ModelReference, Price, RequestParameters, Retry, Sampling
from openthoughts_dagster_tests.generation.faulty import FaultyPool, says
from openthoughts_dagster_tests.generation.faulty_server import (
    BRIEF,
    ask,
    chat,
    completions_of,
    refusal,
    scripted,
    served_model,
    serving,
    serving_in_thread,
)

MANY = [Prompt(f"{n} + {n}?") for n in range(12)]


@pytest.mark.parametrize(
    "reply",
    [
        refusal(400, "Your credit balance is too low to access the API"),
        refusal(403, "This request requires more credits, or fewer max_tokens"),
        refusal(400, "Billing hard limit has been reached", code="billing_hard_limit_reached"),
        refusal(429, "You exceeded your current quota, please check your plan and billing details"),
        web.json_response({"error": {"code": 402, "message": "Insufficient credits"}}),
    ],
)
def test_an_account_without_credit_stops_the_run_whatever_the_status(reply: web.Response) -> None:
    with pytest.raises(EngineError, match=r"api: http://127\.0\.0\.1:[0-9]+/v1 refuses us: HTTP"):
        ask(scripted(chat(), chat(), reply), MANY, max_in_flight=1)


@pytest.mark.parametrize(
    "message", ["Rate limit reached: 3 per minute. Add a payment method to raise it", "quota per minute exceeded"]
)
def test_a_rate_limit_that_speaks_of_payment_is_waited_for(message: str) -> None:
    [completion], asked = ask(scripted(refusal(429, message), chat("4")))
    assert (completion.error, len(asked)) == (None, 2)


def test_a_400_of_a_provider_behind_a_router_is_asked_again_and_never_permanent() -> None:
    provider = refusal(400, "Provider returned error", metadata={"raw": "upstream connect error"})
    first, second = ask(scripted(chat("4"), provider), MANY[:2], max_in_flight=1)[0]
    assert first.error is None and "upstream connect error" in str(second.error)
    assert (second.permanent, second.retries) == (False, 2)
    [other] = ask(scripted(chat("4"), refusal(400, "that went wrong")), MANY[:2], max_in_flight=1)[0][1:]
    assert (other.permanent, other.retries) == (False, 0)


@pytest.mark.parametrize("moderated", [refusal(403, "Input was flagged", code=403), refusal(403, "Forbidden")])
def test_a_403_for_one_prompt_fails_that_prompt_and_the_others_go_on(moderated: web.Response) -> None:
    async def script(number: int, request: web.Request) -> web.StreamResponse:
        unlucky = "7 + 7?" in (await request.json())["messages"][0]["content"]
        return await scripted(moderated)(number, request) if unlucky else chat("4")

    completions, _ = ask(script, MANY, max_in_flight=1)
    [failed] = [completion for completion in completions if completion.error]
    assert len(completions) == 12 and "HTTP 403" in str(failed.error) and failed.retries == 0


@pytest.mark.parametrize(
    ("said", "reason", "failed"),
    [
        ("end_turn", "stop", False),
        ("eos", "stop", False),
        ("MAX_TOKENS", "length", False),
        ("model_length", "length", False),
        ("SAFETY", "content_filter", True),
        (None, "unknown", False),
        ("wandered_off", "wandered_off", False),
        ("insufficient_system_resource", "error", True),
        ("network_error", "error", True),
    ],
)
def test_reasons_have_one_meaning_each_and_unknown_ones_are_never_finished(
    said: str | None, reason: str, failed: bool, lake: Lake
) -> None:
    [completion], _ = ask(scripted(chat("The answer is", said)))
    assert (completion.finish_reason, completion.error is not None) == (reason, failed)
    if not failed:
        model = served_model("http://127.0.0.1:9/v1")
        planned = plan(lake, model, [Prompt("2 + 2?")], Sampling())
        generate(lake, FaultyPool(says("4", reason)), model, iter([planned.missing]), 1, Purpose("a", "s"), print)
        [outcome] = lake.scan(COMPLETIONS).collect()["outcome"]
        assert outcome == ("answered" if reason == "stop" else "unfinished")


def reply_with(usage: Any, content: Any = "4 apples and 5 pears", **message: Any) -> web.Response:
    choice = {"message": {"role": "assistant", "content": content, **message}, "finish_reason": "stop"}
    return web.json_response({"model": "m-2026", "system_fingerprint": "fp_1", "choices": [choice], "usage": usage})


@pytest.mark.parametrize(
    ("usage", "prompt", "completion", "estimated"),
    [
        (None, 10, 5, True),
        ({}, 10, 5, True),
        ({"prompt_tokens": "7", "completion_tokens": 6.0}, 7, 6, False),
        ({"prompt_tokens": -7, "completion_tokens": 10**30}, 10, 5, True),
        ({"prompt_tokens": 7, "completion_tokens": True}, 7, 5, True),
        ({"prompt_tokens": 7, "completion_tokens": 0}, 7, 5, True),
        ("many", 10, 5, True),
        (
            {
                "prompt_tokens": 7,
                "completion_tokens": 2,
                "total_tokens": 19,
                "completion_tokens_details": {"reasoning_tokens": 10},
            },
            7,
            12,
            False,
        ),
        (
            {
                "prompt_tokens": 7,
                "completion_tokens": 12,
                "total_tokens": 19,
                "completion_tokens_details": {"reasoning_tokens": 10},
            },
            7,
            12,
            False,
        ),
    ],
)
def test_any_usage_is_survived_and_what_is_missing_is_estimated_and_marked(
    usage: Any, prompt: int, completion: int, estimated: bool, lake: Lake
) -> None:
    pool = EnginePool()

    async def run() -> None:
        async with serving(scripted(reply_with(usage))) as (url, _):
            model = served_model(url, price=Price(prompt_million=1, completion_million=2))
            planned = plan(lake, model, [Prompt("2 + 2?")], Sampling())
            pages = iter([planned.missing])
            await asyncio.to_thread(generate, lake, pool, model, pages, 1, Purpose("a", "s"), print)

    asyncio.run(run())
    pool.close()
    [row] = lake.scan(COMPLETIONS).collect().to_dicts()
    assert (row["prompt_tokens"], row["completion_tokens"]) == (prompt, completion)
    assert row["cost"] == pytest.approx((prompt + 2 * completion) / 1e6)
    engine = json.loads(row["engine"])
    assert (engine["served_model"], engine["system_fingerprint"]) == ("m-2026", "fp_1")
    assert engine.get("token_counts") == ("estimated" if estimated else None)


def test_a_ledger_without_any_tokens_can_be_planned_with(lake: Lake) -> None:
    model = served_model(
        "http://127.0.0.1:9/v1", price=Price(accelerator_hour=1), hardware={"count": 1, "accelerator": "h100"}
    )
    prompts = [Prompt(f"{n}?") for n in range(30)]
    planned = plan(lake, model, prompts, Sampling())
    pool = FaultyPool(lambda _, request: Completion(request, "4", "stop", 0, 0, 0.1))
    generate(lake, pool, model, iter([planned.missing]), 30, Purpose("a", "s"), print)
    known = measure_rates(lake, model, Sampling(), "s")
    assert "unknown" in estimate(model, known, 10, 0, 100.0, 100.0).says()


@pytest.mark.parametrize(
    ("reply", "reasoning", "answer"),
    [
        (chat([{"type": "text", "text": "4 "}, {"type": "text", "text": "apples"}]), None, "4 apples"),
        (
            chat(
                [{"type": "thinking", "thinking": [{"type": "text", "text": "2 and 2"}]}, {"type": "text", "text": "4"}]
            ),
            "2 and 2",
            "4",
        ),
        (chat("4", thinking="2 and 2"), "2 and 2", "4"),
        (chat("<think>2 and 2</think>4", reasoning_content="2 and 2"), "2 and 2", "4"),
        (chat("4", reasoning_details=[{"type": "reasoning.text", "text": "2 and 2"}]), "2 and 2", "4"),
        (chat("4", reasoning="", reasoning_content="2 and 2"), "2 and 2", "4"),
        (chat("<think>2 and 2</think>4", reasoning_content=""), "2 and 2", "4"),
    ],
)
def test_texts_and_reasoning_are_found_in_every_field_and_stand_once(
    reply: web.Response, reasoning: str | None, answer: str
) -> None:
    [completion], _ = ask(scripted(reply))
    parts = split_reasoning(completion.text, completion.request.prompt)
    assert (parts.reasoning, parts.answer, completion.error) == (reasoning, answer, None)


def refuses(**unsupported: str) -> Callable[[int, web.Request], Awaitable[web.StreamResponse]]:
    """A server that refuses each of the parameters with its message."""

    async def script(number: int, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        for name, message in unsupported.items():
            if name in body:
                return refusal(400, message, type="invalid_request_error", param=name if number % 2 else None)
        return chat("4")

    return script


def test_a_server_that_refuses_our_parameters_is_asked_as_it_wants_and_once_learned_at_once() -> None:
    script = refuses(
        max_tokens="Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens'",
        temperature="Unsupported value: 'temperature' does not support 1.0. Only the default (1) value is supported",
        seed="Unrecognized request argument supplied: seed",
    )
    completions, asked = ask(script, MANY[:4], max_in_flight=1)
    assert [completion.error for completion in completions] == [None] * 4
    assert [completion.retries for completion in completions] == [0] * 4
    assert len(asked) == 3 + 4
    assert set(asked[-1]) == {"model", "messages", "top_p", "max_completion_tokens"}
    assert asked[-1]["max_completion_tokens"] == 50


def test_a_parameter_that_the_recipe_needs_is_never_dropped_without_a_word() -> None:
    script = refuses(temperature="Unsupported parameter: 'temperature' is not supported with this model")
    with pytest.raises(EngineError, match=r"sampling.temperature to 0.5: set it to 1, or write parameters: {omit"):
        ask(script, sampling=Sampling(temperature=0.5, max_tokens=50))
    omitted = RequestParameters(omit=["temperature"])
    [completion], _ = ask(script, sampling=Sampling(temperature=0.5, max_tokens=50), parameters=omitted)
    assert completion.error is None


def test_parameters_of_the_recipe_are_sent_and_extra_ones_are_part_of_the_key() -> None:
    parameters = {"rename": {"max_tokens": "max_length"}, "omit": ["seed"], "extra": {"reasoning_effort": "high"}}
    _, [asked] = ask(scripted(chat()), parameters=parameters)
    assert asked["max_length"] == 50 and asked["reasoning_effort"] == "high"
    assert "seed" not in asked and "max_tokens" not in asked

    def key(**settings: Any) -> str:
        reference = ModelReference(name="a", model="m", engine="openai", base_url="http://h/v1", **settings)
        return completion_keys(locate(reference, Path()).identity, ["p"], Sampling())[0]

    assert key(parameters=parameters) != key()
    assert key(parameters={"omit": ["seed"]}) == key()


@pytest.mark.parametrize("status", [401, 403, 404, 405, 500])
def test_a_key_that_may_not_list_models_is_of_use_all_the_same(status: int) -> None:
    completions, _ = ask(scripted(chat("4")), MANY[:2], models_status=status)
    assert [completion.error for completion in completions] == [None, None]


@pytest.mark.parametrize("status", [429, 502, 503, 529])
def test_a_server_that_is_away_is_waited_for_longer_than_its_attempts(status: int) -> None:
    start = time.monotonic()

    async def comes_back(number: int, request: web.Request) -> web.StreamResponse:
        return chat("4") if time.monotonic() > start + 0.5 else refusal(status, "restarting")

    retry = BRIEF.model_copy(update={"patience": 5.0})
    completions, _ = ask(comes_back, MANY[:3], retry=retry)
    assert [completion.error for completion in completions] == [None] * 3
    assert max(completion.retries for completion in completions) > retry.attempts
    assert Retry().patience > 120  # a rate window of a minute, and a restart that takes two


def test_a_server_that_comes_up_late_is_waited_for_and_one_that_never_does_names_the_setting() -> None:
    async def run() -> None:
        async with serving(scripted(chat("4"))) as (url, _):
            pass
        port = int(url.split(":")[2].split("/")[0])
        model = served_model(url, BRIEF.model_copy(update={"patience": 5.0}))
        starting = asyncio.create_task(start_openai(model))
        await asyncio.sleep(0.1)
        async with serving(scripted(chat("4")), port=port):
            engine = await starting
            assert [c.error for c in await completions_of(engine, model, MANY[:1], Sampling())] == [None]
            await engine.close()

    asyncio.run(run())
    with pytest.raises(EngineError, match=r"given up after 0.3 s: retry.patience"):
        asyncio.run(start_openai(served_model("http://127.0.0.1:9/v1")))


CONTEXT = "This model's maximum context length is 8192 tokens"
ROOM = {
    f"{CONTEXT}. However, you requested 8250 tokens (58 in the messages, 8192 in the completion).": 8134,
    f"'max_tokens' is too large: 8192. {CONTEXT} and your request has 1,058 input tokens.": 7134,
    f"{CONTEXT}. However, you requested about 8250 tokens (58 of text input, 8192 in the output)": 8134,
    f"{CONTEXT}, however you requested 8250 tokens (58 in your prompt; 8192 for the completion)": 8134,
    f"{CONTEXT}. However, your messages resulted in 9000 tokens": None,
    f"{CONTEXT}. However, you requested 17192 tokens (9000 in the messages, 8192 in the completion)": None,
}


@pytest.mark.parametrize(("refused", "room"), ROOM.items())
def test_a_server_that_counts_prompt_and_answer_together_is_asked_for_what_the_prompt_leaves(
    refused: str, room: int | None
) -> None:
    replies = scripted(refusal(400, refused, code="context_length_exceeded"), chat("4"))
    [completion], asked = ask(replies, sampling=Sampling(max_tokens=8192), stream="never")
    if room is None:
        assert (completion.permanent, len(asked)) == (True, 1)
    else:
        assert (completion.error, asked[1]["max_tokens"]) == (None, room)


def test_a_refused_setting_with_safety_in_its_name_is_no_moderated_prompt() -> None:
    refused = refusal(400, "Invalid value for 'safety_settings'", param="safety_settings", code="invalid_value")
    [completion], _ = ask(scripted(refused))
    assert (completion.permanent, completion.finish_reason) == (False, "error")
    [completion], _ = ask(scripted(refusal(400, "The prompt was flagged", param="prompt", code="content_filter")))
    assert (completion.permanent, completion.finish_reason) == (True, "content_filter")


def test_a_server_that_cuts_a_prompt_silently_has_not_answered_it(untrained_model: Path, lake: Lake) -> None:
    def reply(prompt_tokens: int) -> web.Response:
        usage = {"prompt_tokens": prompt_tokens, "completion_tokens": 2}
        return web.json_response({"choices": [{"text": "4", "finish_reason": "stop"}], "usage": usage})

    with serving_in_thread(scripted(reply(5), reply(1000))) as (url, _):
        reference = ModelReference(
            name="api", model="m", engine="openai", base_url=url, tokenizer=str(untrained_model), retry=BRIEF,
            max_model_len=4000, price=Price(prompt_million=1e6), max_in_flight=1,
        )  # fmt: skip
        model, pool = locate(reference, Path()), EnginePool()
        planned = plan(lake, model, [Prompt("2 + 2? " * 20), Prompt("3 + 3?"), Prompt("4 " * 4000)], Sampling())
        generate(lake, pool, model, iter([planned.missing]), 3, Purpose("a", "s"), print)
        pool.close()
    rows = lake.scan(COMPLETIONS).sort("cost").collect()
    assert rows["cost"].to_list() == [0, 5, 1000]  # what was never sent costs nothing
    assert [bool(error) for error in rows["error"]] == [True, True, False] and rows["permanent"].sum() == 2
    assert "read only 5 of the" in rows["error"][1]
