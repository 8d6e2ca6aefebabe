"""What a server's replies mean, whatever words it chooses, and what it is asked; the key stays between the two."""

import asyncio
import json
import logging
import traceback
from pathlib import Path
from urllib.parse import quote

import pytest
from aiohttp import web

from openthoughts_dagster.generation.engine import EngineError
from openthoughts_dagster.generation.engines.openai_start import start_openai
from openthoughts_dagster.generation.generate import generate, plan
from openthoughts_dagster.generation.ledger_writer import Purpose
from openthoughts_dagster.generation.pool import EnginePool
from openthoughts_dagster.generation.reasoning import split_reasoning
from openthoughts_dagster.generation.requests import Prompt
from openthoughts_dagster.lake import COMPLETIONS, Lake
from openthoughts_dagster.recipe import RepetitionGuard, Sampling
from openthoughts_dagster_tests.generation.faulty_server import (
    BRIEF,
    ask,
    chat,
    completions_of,
    scripted,
    served_model,
    serving,
)

KEY = "sk-very/secret+0123456789"

SPELLINGS = {
    "as it is": KEY,
    "JSON with escaped slashes": KEY.replace("/", "\\/"),
    "JSON with Unicode escapes": "".join(f"\\u{ord(letter):04X}" for letter in KEY),
    "JSON within JSON": json.dumps(json.dumps(KEY.replace("/", "\\/")))[1:-1],
    "of an address": quote(KEY, safe=""),
    "of HTML": KEY.replace("/", "&#x2F;").replace("+", "&#43;"),
}


@pytest.mark.parametrize("spelling", SPELLINGS.values(), ids=SPELLINGS.keys())
@pytest.mark.parametrize("status", [400, 403, 200, 307])
def test_no_byte_of_the_lake_or_of_an_error_holds_the_key_however_a_server_spells_it(
    status: int, spelling: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("SECRET_OF_THE_TEST", KEY)
    body = '{"error": {"message": "wrong key ' + spelling + '", "code": "' + spelling + '"}}'
    reply = web.Response(text=body, status=status, content_type="application/json", headers={"Location": f"/{KEY}"})
    lake, pool, told = Lake(tmp_path / "lake"), EnginePool(), list[str]()

    async def run() -> None:
        async with serving(scripted(reply)) as (url, _):
            model = served_model(url, BRIEF.model_copy(update={"patience": 0.02}), api_key_env="SECRET_OF_THE_TEST")
            planned = plan(lake, model, [Prompt("0 + 0?")], Sampling())
            pages = iter([planned.missing])
            await asyncio.to_thread(generate, lake, pool, model, pages, 1, Purpose("a", "s"), told.append)

    with pytest.raises(EngineError) as caught:
        asyncio.run(run())
    pool.close()
    told.append(str(lake.scan(COMPLETIONS).collect().to_dicts()))
    everything = b"".join(path.read_bytes() for path in (tmp_path / "lake").rglob("*") if path.is_file())
    everything += "".join([*told, *traceback.format_exception(caught.value)]).encode()
    assert b"[the key]" in everything
    assert spelling.encode() not in everything and KEY.encode() not in everything


def test_a_placeholder_of_a_key_is_no_secret_and_words_of_answers_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PLACEHOLDER", "EMPTY")
    [completion], _ = ask(scripted(chat("EMPTY set")), api_key_env="PLACEHOLDER")
    assert completion.text == "EMPTY set"


@pytest.mark.parametrize("status", [400, 401, 500, 200])
def test_the_key_is_in_no_error_description_or_log(
    status: int, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("SECRET_OF_THE_TEST", KEY + "\n")
    caplog.set_level(logging.DEBUG)
    sent: list[str] = []
    told: list[object] = []

    async def tells_the_key(number: int, request: web.Request) -> web.StreamResponse:
        sent.append(request.headers["Authorization"])
        # the second request's so that an excerpt of the body ends in the middle of the key
        cut = "1 + 1?" in (await request.json())["messages"][0]["content"]
        body = f"{'.' * 285 * cut}wrong key {KEY}"
        return web.Response(body=body.encode(), status=status)

    async def run() -> None:
        async with serving(tells_the_key) as (url, _):
            model = served_model(url, api_key_env="SECRET_OF_THE_TEST")
            engine = await start_openai(model)
            told.extend([engine.describe(), repr(engine), {name: repr(part) for name, part in vars(engine).items()}])
            try:
                told.extend(await completions_of(engine, model, [Prompt("0 + 0?"), Prompt("1 + 1?")], Sampling()))
            except EngineError as error:
                told.append("".join(traceback.format_exception(error)))
            finally:
                await engine.close()

    asyncio.run(run())

    assert set(sent) == {f"Bearer {KEY}"}
    assert KEY[:8] not in str(told) and KEY[:8] not in caplog.text
    assert "wrong key [the key]" in str(told)


def test_a_key_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET_OF_THE_TEST", "\n")
    with pytest.raises(EngineError, match="environment variable SECRET_OF_THE_TEST holds no API key"):
        asyncio.run(start_openai(served_model("http://127.0.0.1:9/v1", api_key_env="SECRET_OF_THE_TEST")))


@pytest.mark.parametrize(
    ("reply", "reasoning", "answer"),
    [
        (chat("4", reasoning="2 and 2"), "2 and 2", "4"),
        (chat("4", reasoning_content="2 and 2"), "2 and 2", "4"),
        (chat("<think>2 and 2</think>4"), "2 and 2", "4"),
        (chat("2 and 2</think>4"), "2 and 2", "4"),
        (chat(None, "length", reasoning="2 and"), "2 and", ""),
        (chat("The tag <think> opens reasoning", reasoning=None), None, "The tag <think> opens reasoning"),
        (chat("a <think> b", reasoning="c"), "c", "a <think> b"),
        (chat("\u0000 caf\u00e9 \U0001d6fc"), None, "\u0000 caf\u00e9 \U0001d6fc"),
        (
            web.Response(body=b'{"choices": [{"message": {"content": "half \\ud83d a pair"}}]}'),
            None,
            "half \ufffd a pair",
        ),
    ],
)
def test_reasoning_is_apart_from_the_answer_whatever_field_it_comes_in(
    reply: web.Response, reasoning: str | None, answer: str
) -> None:
    [completion], _ = ask(scripted(reply))

    parts = split_reasoning(completion.text, completion.request.prompt)
    assert (parts.reasoning, parts.answer, completion.error) == (reasoning, answer, None)


SCHEMA = {
    "type": "object",
    "properties": {"difficulty": {"type": "integer", "maximum": 10}},
    "required": ["difficulty"],
}


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ('{"difficulty": 7}', None),
        ('{"difficulty": 7, "why": "as $\\\\alpha > 1$"}', None),
        ('{"difficulty": 7, "why": "as $\\alpha > 1$"}', None),
        ('Here it is:\n```json\n{"difficulty": 7}\n```', None),
        ('<think>hm {</think>{"difficulty": 7}', None),
        ('{"difficulty": 70}', "$.difficulty: 70 is greater than the maximum of 10"),
        ('{"difficulty": "7"}', "$.difficulty: '7' is not of type 'integer'"),
        ('{"difficult": 7}', "$: 'difficulty' is a required property"),
        ('{"difficulty": NaN}', "NaN is no JSON"),
        ('{"difficulty": 7', "is not closed"),
        ('{"difficulty": 7, "why": "\\ud83d"}', "half a surrogate pair"),
        ("[" * 100_000, "nested more than 64 levels"),
        ("I would say 7.", "there is no JSON"),
        ("", "there is no JSON"),
    ],
)
def test_json_is_validated_even_when_the_server_says_that_it_did(content: str, problem: str | None) -> None:
    [completion], asked = ask(scripted(chat(content)), [Prompt("Rate it.", json_schema=SCHEMA)])

    assert asked[0]["response_format"]["json_schema"]["schema"] == SCHEMA
    assert completion.text == content
    if problem is None:
        assert (completion.finish_reason, completion.error) == ("stop", None)
    else:
        assert (completion.finish_reason, completion.permanent) == ("invalid_json", True)
        assert problem in str(completion.error)


def test_a_guard_that_the_server_does_not_have_is_refused_instead_of_ignored() -> None:
    guarded = Sampling(thinking_budget=10, repetition=RepetitionGuard())
    with pytest.raises(EngineError, match=r"no vLLM.*sampling\.thinking_budget and sampling\.repetition"):
        ask(scripted(chat()), sampling=guarded)


def test_vllm_is_told_every_setting_that_its_checkpoint_could_bring() -> None:
    card = {"id": "m", "owned_by": "vllm", "max_model_len": 100}
    _, [asked] = ask(scripted(chat()), sampling=Sampling(max_tokens=5), models=[card])

    assert {name: asked[name] for name in ("top_k", "min_p", "repetition_penalty", "temperature", "top_p")} == {
        "top_k": 0,
        "min_p": 0.0,
        "repetition_penalty": 1.0,
        "temperature": 1.0,
        "top_p": 1.0,
    }
    with pytest.raises(EngineError, match=r"serves other, not 'm': correct `model`"):
        ask(scripted(chat()), models=[{"id": "other", "owned_by": "vllm"}])
