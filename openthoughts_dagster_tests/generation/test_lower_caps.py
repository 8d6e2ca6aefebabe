"""A longer max_tokens pays only for what a lower one cut off."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from openthoughts_dagster.generation.engines.finishing import make_completion
from openthoughts_dagster.generation.generate import ledger_client, plan
from openthoughts_dagster.generation.ledger import chosen_completions, find_missing_samples
from openthoughts_dagster.generation.ledger_writer import Purpose
from openthoughts_dagster.generation.model import Model, locate
from openthoughts_dagster.generation.requests import Answer, Completion, ModelIdentity, Prompt, Request
from openthoughts_dagster.generation.usage import Usage
from openthoughts_dagster.lake import COMPLETIONS, Lake
from openthoughts_dagster.recipe import ModelReference, Price, Sampling
from openthoughts_dagster_tests.generation.faulty import FaultyPool

SCHEMA = {"type": "object"}
PROMPTS = [Prompt(f"{n}?", 2) for n in range(3)]


@pytest.fixture
def model() -> Model:
    reference = ModelReference(name="t", model="m", engine="openai", base_url="http://127.0.0.1:9/v1")
    return Model(reference, "m", ModelIdentity("m", "1"))


def writes(number: int, request: Request) -> Completion:
    """The first prompt needs 4 tokens, the second 8, the third 16."""
    needed = 4 * 2 ** int(request.messages[-1]["content"][0])
    cut = needed > request.sampling.max_tokens
    text = f'{{"n": {needed}}}' if request.json_schema else f"{request.sampling.max_tokens}"
    return Completion(request, text, "length" if cut else "stop", 3, min(needed, request.sampling.max_tokens), 0.1)


def answers(
    lake: Lake, model: Model, sampling: Sampling, prompts: Sequence[Prompt] = PROMPTS
) -> tuple[list[list[Answer]], int]:
    usage = Usage()
    ask = ledger_client(lake, FaultyPool(writes), model, sampling, usage, Purpose("a", "s"), print)
    return ask(prompts), usage.generated


def test_raising_the_cap_asks_exactly_the_cut_ones(lake: Lake, model: Model) -> None:
    assert answers(lake, model, Sampling(max_tokens=4))[1] == 6
    raised, generated = answers(lake, model, Sampling(max_tokens=8))
    assert generated == 4
    assert [[a.answer for a in samples] for samples in raised] == [["4", "4"], ["8", "8"], ["8", "8"]]
    assert [samples[0].finish_reason for samples in raised] == ["stop", "stop", "length"]
    assert [[a.sample_index for a in samples] for samples in raised] == [[0, 1]] * 3
    longest, generated = answers(lake, model, Sampling(max_tokens=16))
    assert (generated, [samples[0].answer for samples in longest]) == (2, ["4", "8", "16"])
    assert answers(lake, model, Sampling(max_tokens=16))[1] == 0
    assert lake.scan(COMPLETIONS).collect().height == 12


def test_what_was_cut_off_is_continued_and_only_the_rest_is_paid_for(lake: Lake, untrained_model: Path) -> None:
    price = Price(completion_million=1e6)
    reference = ModelReference(name="t", model=str(untrained_model), engine="transformers", price=price)
    model, asked = locate(reference, Path()), list[Request]()

    def goes_on(number: int, request: Request) -> Completion:
        asked.append(request)
        cap, begun = request.sampling.max_tokens, len(request.written)
        new = f"<think>{'a' * 100}"[begun:cap]
        reason = "length" if request.messages[-1]["content"] != "3?" else "stop"
        return make_completion(request, new, reason, 3, len(new), 0.1, written_tokens=begun)

    def ask(sampling: Sampling, *prompts: Prompt) -> list[Answer]:
        client = ledger_client(lake, FaultyPool(goes_on), model, sampling, Usage(), Purpose("a", "s"), print)
        return [answer for [answer] in client(prompts)]

    bound = Prompt("2?", json_schema=SCHEMA)
    ask(Sampling(max_tokens=20), Prompt("0?"), Prompt("3?"))
    ask(Sampling(max_tokens=30), Prompt("0?"), bound)
    asked.clear()
    first, third, _, _ = ask(Sampling(max_tokens=50), Prompt("0?"), Prompt("3?"), bound, Prompt("1?"))
    written = {request.messages[-1]["content"]: request.written for request in asked}
    assert written == {"0?": f"<think>{'a' * 23}", "2?": "", "1?": ""}  # "3?" was not cut off
    assert (first.reasoning, first.completion_tokens, third.completion_tokens) == ("a" * 43, 50, 20)
    paid = lake.scan(COMPLETIONS).filter(pl.col("prompt").str.contains("0?", literal=True)).collect()
    assert sorted(paid["cost"]) == [10, 20, 20]


def test_a_cap_that_cut_everything_off_may_be_raised(lake: Lake, model: Model) -> None:
    answers(lake, model, Sampling(max_tokens=2))
    assert answers(lake, model, Sampling(max_tokens=16))[1] == 6


@pytest.mark.parametrize(
    "sampling", [Sampling(max_tokens=2), Sampling(max_tokens=8, temperature=0.5), Sampling(max_tokens=8, seed=1)]
)
def test_a_lower_cap_or_another_setting_asks_anew(sampling: Sampling, lake: Lake, model: Model) -> None:
    answers(lake, model, Sampling(max_tokens=4))
    assert answers(lake, model, sampling)[1] == 6


def test_replies_that_were_bound_to_a_schema_count_for_that_schema_only(lake: Lake, model: Model) -> None:
    bound = [Prompt("0?", json_schema=SCHEMA)]
    answers(lake, model, Sampling(max_tokens=4), bound)
    assert answers(lake, model, Sampling(max_tokens=8), [Prompt("0?")])[1] == 1
    assert answers(lake, model, Sampling(max_tokens=16), [Prompt("0?", json_schema={"type": "array"}), *bound])[1] == 1


def test_answers_that_were_paid_for_under_both_caps_stay_those_of_their_own(lake: Lake, model: Model) -> None:
    low, high = Sampling(max_tokens=8), Sampling(max_tokens=16)
    answers(lake, model, high)  # as versions did that paid for everything anew
    answers(lake, model, low)
    planned = plan(lake, model, PROMPTS, high)
    assert planned.missing == []
    keys = [samples[0][0] for samples in planned.wanted]

    chosen: Any = chosen_completions(lake, model, pl.Series(keys), ["completion_tokens", "sampling"], high).collect()
    assert set(chosen["sampling"]) == {high.model_dump_json(exclude_none=True)} and chosen.height == 6


def test_permanent_failures_are_wanted_again_where_a_person_asks_for_it(lake: Lake, model: Model) -> None:
    def refuses(number: int, request: Request) -> Completion:
        return Completion(request, "", "content_filter", 3, 0, 0.1, error="filtered", permanent=True)

    ask = ledger_client(lake, FaultyPool(refuses), model, Sampling(), Usage(), Purpose("a", "s"), print)
    ask([Prompt("0?")])
    [[(key, _)]] = plan(lake, model, [Prompt("0?")], Sampling()).wanted
    keys, samples = pl.Series([key]), pl.Series([[0]])
    assert find_missing_samples(lake, model, keys, samples).to_list() == [[]]
    assert find_missing_samples(lake, model, keys, samples, retry_refused_before=datetime.now(UTC)).to_list() == [[0]]
    before = datetime.now(UTC) - timedelta(hours=1)  # what a person asked for then was asked since
    assert find_missing_samples(lake, model, keys, samples, retry_refused_before=before).to_list() == [[]]
