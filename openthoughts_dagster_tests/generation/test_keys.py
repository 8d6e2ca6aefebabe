"""Keys of completions that were paid for stay what they are."""

from typing import Any

import pytest

from openthoughts_dagster.generation.requests import ModelIdentity, Request, completion_keys
from openthoughts_dagster.recipe import RepetitionGuard, Sampling

MODEL = ModelIdentity("Qwen/QwQ-32B", "abc")
PROMPT = "What is 1 + 1?"


def _key(sampling: Sampling, json_schema: dict[str, Any] | None = None) -> str:
    [key] = completion_keys(MODEL, [PROMPT], sampling, json_schema)
    return key


def test_a_key_is_the_same_in_every_version() -> None:
    # written down from the first version: a ledger holds such keys, and another value would pay for all of it again
    assert _key(Sampling(max_tokens=16384)) == "1fbf93a1815b2081d7dcf78ac8285502"
    sampling = Sampling(temperature=0.7, top_p=0.9, top_k=5, max_tokens=100, seed=3)
    assert _key(sampling, {"type": "object"}) == "df0221d9dc08109f1a507918d858ecfb"
    request = Request("1fbf93a1815b2081d7dcf78ac8285502", 1, PROMPT, Sampling())
    assert request.seed == 972595199


@pytest.mark.parametrize(
    "sampling",
    [
        Sampling(thinking_budget=100),
        Sampling(repetition=RepetitionGuard()),
        Sampling(repetition=RepetitionGuard(times=3)),
        Sampling(seed=1),
    ],
)
def test_a_guard_that_is_set_asks_anew(sampling: Sampling) -> None:
    assert _key(sampling) != _key(Sampling())
