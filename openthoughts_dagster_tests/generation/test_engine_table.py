"""An engine is a module and an entry of the table: everything else reads them there."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import ValidationError

from openthoughts_dagster.generation.engine import EngineError
from openthoughts_dagster.generation.engines import start_engine
from openthoughts_dagster.generation.generate import ledger_client
from openthoughts_dagster.generation.ledger_writer import Purpose
from openthoughts_dagster.generation.model import Model
from openthoughts_dagster.generation.pool import EnginePool
from openthoughts_dagster.generation.requests import ModelIdentity, Prompt
from openthoughts_dagster.generation.usage import Usage
from openthoughts_dagster.lake import Lake
from openthoughts_dagster.recipe import ModelReference, Sampling
from openthoughts_dagster.recipe.engines import ENGINES, EngineEntry, engine_entry

ECHO = '''
"""Repeats the question: the whole of an engine."""

import time
from collections.abc import AsyncIterable, AsyncIterator
from typing import Any

from openthoughts_dagster.generation.engines.fan_out import fan_out
from openthoughts_dagster.generation.engines.finishing import make_completion
from openthoughts_dagster.generation.model import Model
from openthoughts_dagster.generation.requests import Completion, Request


async def start_echo(model: Model) -> "EchoEngine":
    return EchoEngine(model)


class EchoEngine:
    def __init__(self, model: Model) -> None:
        self._model = model

    def generate(self, requests: AsyncIterable[Request]) -> AsyncIterator[Completion]:
        return fan_out(requests, self._model.reference.max_in_flight, self._complete)

    def describe(self) -> dict[str, Any]:
        return {"name": "echo", "version": "1"}

    async def close(self) -> None:
        return None

    async def _complete(self, request: Request) -> Completion:
        start, text = time.monotonic(), request.messages[-1]["content"]
        words = text.split()
        cut = " ".join(words[: request.sampling.max_tokens])
        reason = "stop" if cut == " ".join(words) else "length"
        return make_completion(request, cut, reason, len(words), len(cut.split()), time.monotonic() - start)
'''


@pytest.fixture
def echo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[EngineEntry]:
    """The example of the docs, as a module of its own."""
    (tmp_path / "echo_engine.py").write_text(ECHO)
    monkeypatch.syspath_prepend(str(tmp_path))
    entry = EngineEntry("echo", "asyncio", "echo", "echo_engine:start_echo", is_server=True)
    monkeypatch.setitem(ENGINES, "echo", entry)
    yield entry
    sys.modules.pop("echo_engine", None)


def test_a_new_engine_is_a_module_and_an_entry(echo: EngineEntry, lake: Lake) -> None:
    reference = ModelReference(name="echo", model="m", engine="echo")
    model = Model(reference, "m", ModelIdentity("m", "1"))
    pool, usage = EnginePool(), Usage()
    ask = ledger_client(lake, pool, model, Sampling(max_tokens=2), usage, Purpose("a", "s"), print)
    answers = [sample for samples in ask([Prompt("one"), Prompt("one two three")]) for sample in samples]
    pool.close()
    assert [(a.answer, a.finish_reason) for a in answers] == [("one", "stop"), ("one two", "length")]
    assert (usage.generated, usage.completion_tokens) == (2, 3)


def test_an_engine_that_is_not_installed_says_how_to_install_it(echo: EngineEntry) -> None:
    absent = EngineEntry("absent", "no_such_package", "absent", "echo_engine:start_echo")
    ENGINES["absent"] = absent
    try:
        model = Model(ModelReference(name="a", model="m", engine="absent"), "m", ModelIdentity("m", "1"))
        with pytest.raises(EngineError, match=r"no_such_package.*pip install 'openthoughts-dagster\[absent\]'"):
            start_engine(model)
    finally:
        del ENGINES["absent"]


def test_a_mistyped_engine_gets_the_close_one() -> None:
    with pytest.raises(
        ValidationError, match="must be one of auto, vllm, transformers, openai, published, got 'opnai'; did you"
    ):
        ModelReference(name="a", model="m", engine="opnai")


def test_every_engine_of_the_table_can_be_started() -> None:
    for entry in ENGINES.values():
        module, _, function = entry.start.partition(":")
        assert module.startswith("openthoughts_dagster.") and function.startswith("start_")
    assert engine_entry("auto").name in ("vllm", "transformers")
