"""Nothing is paid for twice, nothing that was paid for is lost."""

import asyncio
import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest

from openthoughts_dagster.defs.metadata import show_cost
from openthoughts_dagster.generation.circuit_breaker import CircuitBreaker
from openthoughts_dagster.generation.engine import EngineDied, EngineError
from openthoughts_dagster.generation.feed import Feed
from openthoughts_dagster.generation.generate import generate, ledger_client, plan
from openthoughts_dagster.generation.ledger import count_served_models
from openthoughts_dagster.generation.ledger_writer import LedgerWriter, Purpose
from openthoughts_dagster.generation.model import Model, locate
from openthoughts_dagster.generation.pool import EnginePool
from openthoughts_dagster.generation.reasoning import join_reasoning
from openthoughts_dagster.generation.requests import Completion, Prompt, Request
from openthoughts_dagster.generation.usage import Usage, sum_generation_costs
from openthoughts_dagster.lake import COMPLETIONS, Lake, LakeError
from openthoughts_dagster.recipe import CommitBudget, Hardware, Price, Sampling, Teacher
from openthoughts_dagster_tests.answers.rows import completion_rows
from openthoughts_dagster_tests.generation.faulty import FaultyPool, says

QUESTIONS = pl.DataFrame(
    {"source": ["s"] * 4, "question_id": list("abcd"), "question": [f"What is {n} + 1?" for n in range(4)]}
)
SAMPLING = Sampling(max_tokens=6)


@pytest.fixture
def teacher(untrained_model: Path) -> Model:
    return locate(Teacher(name="t", model=str(untrained_model), engine="transformers", sampling=SAMPLING), Path())


def _generate(lake: Lake, pool: EnginePool, teacher: Model, samples: int, sampling: Sampling) -> Usage:
    planned = plan(lake, teacher, _prompts(samples), sampling)
    spent = Usage(reused=planned.reused)
    if planned.missing:
        pages, total = iter([planned.missing]), len(planned.missing)
        spent.add(generate(lake, pool, teacher, pages, total, Purpose("teacher_answers", "s"), print))
    return spent


def _prompts(samples: int) -> list[Prompt]:
    return [Prompt(question, samples) for question in QUESTIONS["question"]]


def test_a_rerun_generates_nothing_and_raising_samples_generates_only_the_missing(lake: Lake, teacher: Model) -> None:
    pool = FaultyPool(says("4"))
    counts = []
    for samples in (2, 2, 5):
        spent = _generate(lake, pool, teacher, samples, SAMPLING)
        counts.append((spent.generated, spent.reused))

    assert counts == [(8, 0), (0, 8), (12, 8)]
    assert lake.scan(COMPLETIONS).collect().height == 20


def test_a_changed_temperature_asks_anew_and_the_old_rows_stay(lake: Lake, teacher: Model) -> None:
    pool = FaultyPool(says("4"))
    for sampling in (SAMPLING, Sampling(max_tokens=6, temperature=0.5)):
        spent = _generate(lake, pool, teacher, 1, sampling)
        assert spent.generated == 4
    assert lake.scan(COMPLETIONS).collect().height == 8


def test_an_engine_that_dies_loses_no_completion_that_had_ended(lake: Lake, teacher: Model) -> None:
    def dies_at_the_sixth(number: int, request: Request) -> Completion:
        if number == 5:
            raise EngineError("t: the engine died")
        return Completion(request, "4", "stop", 3, 1, 0.1)

    with pytest.raises(EngineError, match="the engine died"):
        _generate(lake, FaultyPool(dies_at_the_sixth), teacher, 2, SAMPLING)

    again = plan(lake, teacher, _prompts(2), SAMPLING)
    assert (again.reused, len(again.missing)) == (5, 3)


def test_failed_requests_are_recorded_and_asked_again(lake: Lake, teacher: Model) -> None:
    def every_other_fails(number: int, request: Request) -> Completion:
        if number % 2:
            return Completion(request, "", "error", 0, 0, 0.1, error="HTTP 500")
        return Completion(request, "4", "stop", 3, 1, 0.1)

    spent = _generate(lake, FaultyPool(every_other_fails), teacher, 1, SAMPLING)
    assert (spent.generated, spent.failed) == (2, 2)
    answers = ledger_client(lake, FaultyPool(says("4")), teacher, SAMPLING, spent, Purpose(), print)(_prompts(1))
    assert [a.error for [a] in answers] == [None] * 4
    assert (spent.generated, spent.reused, spent.failed) == (4, 2, 2)


def test_when_every_request_fails_the_last_error_is_raised(lake: Lake, teacher: Model) -> None:
    pool = FaultyPool(lambda _, request: Completion(request, "", "error", 0, 0, 0.1, error="HTTP 500: overloaded"))
    with pytest.raises(EngineError, match="all 4 requests failed; the last error: HTTP 500: overloaded"):
        _generate(lake, pool, teacher, 1, SAMPLING)


def test_prompts_that_are_refused_for_good_do_not_stop_the_others(lake: Lake, teacher: Model) -> None:
    pool = FaultyPool(lambda _, request: Completion(request, "", "error", 0, 0, 0.1, error="too long", permanent=True))
    answers = ledger_client(lake, pool, teacher, SAMPLING, Usage(), Purpose(), print)(_prompts(1))
    assert [a.error for [a] in answers] == ["too long"] * 4


def test_a_ledger_that_cannot_be_written_stops_the_paying(tmp_path: Path, teacher: Model) -> None:
    (tmp_path / "lake").write_text("a file where the lake should be")
    asked = []

    def counts(number: int, request: Request) -> Completion:
        asked.append(number)
        return Completion(request, "4", "stop", 3, 1, 0.1)

    with pytest.raises((LakeError, OSError)):
        planned = plan(Lake(tmp_path / "elsewhere"), teacher, _prompts(50), SAMPLING)
        broken = Lake(tmp_path / "lake")
        generate(broken, FaultyPool(counts), teacher, iter([planned.missing]), 50, Purpose(), print)


def test_completions_are_committed_while_others_are_still_running(lake: Lake, teacher: Model) -> None:
    request = plan(lake, teacher, _prompts(1), SAMPLING).missing[0]
    often = teacher.reference.model_copy(update={"commit": CommitBudget(seconds=0.05)})
    with LedgerWriter(lake, Model(often, teacher.address, teacher.identity), {}, Purpose()) as ledger:
        ledger.add(Completion(request, "<think>1+1=2</think>2", "stop", 3, 4, 0.1))
        _wait_for(lambda: lake.scan(COMPLETIONS).collect().height == 1)
    row = lake.scan(COMPLETIONS).collect().row(0, named=True)
    assert (row["reasoning"], row["answer"]) == ("1+1=2", "2")


def test_an_engine_that_dies_is_started_again_and_asked_only_for_what_was_under_way(lake: Lake, teacher: Model) -> None:
    asked: list[tuple[str, int]] = []

    def dies_once(number: int, request: Request) -> Completion:
        asked.append((request.key, request.sample_index))
        if len(asked) == 4:
            raise EngineDied("t: the engine died")
        return Completion(request, "4", "stop", 3, 1, 0.1)

    spent = _generate(lake, FaultyPool(dies_once), teacher, 2, SAMPLING)

    assert spent.generated == 8 and len(asked) == 9
    assert lake.scan(COMPLETIONS).select("key", "sample_index").unique().collect().height == 8


def test_a_page_that_is_read_while_an_engine_dies_is_asked_by_the_next_engine(lake: Lake, teacher: Model) -> None:
    first, second = (plan(lake, teacher, [Prompt(text)], SAMPLING).missing for text in ("1 + 1?", "2 + 2?"))
    read, died = threading.Event(), threading.Event()

    def pages() -> Iterator[list[Request]]:
        yield first
        read.set()
        died.wait(10)
        yield second

    feed = Feed(pages())

    async def dies() -> None:
        stream = feed.stream()
        await anext(stream)
        task = asyncio.ensure_future(anext(stream))
        await asyncio.to_thread(read.wait, 10)
        task.cancel()
        await asyncio.wait([task])

    async def goes_on() -> list[Request]:
        asyncio.get_running_loop().call_later(0.05, died.set)
        return [request async for request in feed.stream()]

    asyncio.run(dies())
    assert asyncio.run(goes_on()) == [*first, *second]


def test_a_commit_that_fails_when_the_engine_dies_ends_the_run_with_its_reason(tmp_path: Path, teacher: Model) -> None:
    class Full(Lake):
        def append(self, table: object, rows: pl.DataFrame) -> None:
            raise LakeError("no space")

    def dies(number: int, request: Request) -> Completion:
        if number:
            raise EngineDied("t: the engine died")
        return Completion(request, "4", "stop", 3, 1, 0.1)

    quick = teacher.reference.model_copy(update={"commit": CommitBudget(seconds=0.01)})
    with pytest.raises(LakeError, match="no space"):
        _generate(Full(tmp_path / "lake"), FaultyPool(dies), replace(teacher, reference=quick), 2, SAMPLING)


def test_an_engine_that_dies_at_once_every_time_stops_the_run(lake: Lake, teacher: Model) -> None:
    def dies(number: int, request: Request) -> Completion:
        raise EngineDied("t: the engine died")

    with pytest.raises(EngineError, match="died 3 times without finishing a request"):
        _generate(lake, FaultyPool(dies), teacher, 2, SAMPLING)


def test_a_permanent_failure_is_not_asked_again(lake: Lake, teacher: Model) -> None:
    def too_long(number: int, request: Request) -> Completion:
        problem = "the prompt is too long" if request.prompt.count("0 + 1") else None
        return Completion(request, "4", "error" if problem else "stop", 3, 1, 0.1, error=problem, permanent=True)

    _generate(lake, FaultyPool(too_long), teacher, 1, SAMPLING)
    assert plan(lake, teacher, _prompts(1), SAMPLING).missing == []


def test_a_judge_can_be_asked_again_for_what_it_refused_for_good(lake: Lake, teacher: Model) -> None:
    refuses = FaultyPool(lambda _, request: Completion(request, "", "error", 3, 0, 0, error="no", permanent=True))
    answers, before = FaultyPool(says("4")), datetime.now(UTC)

    def ask(pool: EnginePool, moment: datetime | None) -> list[str | None]:
        client = ledger_client(lake, pool, teacher, SAMPLING, Usage(), Purpose(), print, retry_refused_before=moment)
        return [answer.error for [answer] in client(_prompts(1))]

    assert ask(refuses, None) == ask(answers, None) == ask(answers, before) == ["no"] * 4
    assert ask(answers, datetime.now(UTC)) == ask(refuses, datetime.now(UTC)) == [None] * 4


def test_what_was_too_long_is_asked_again_when_the_model_takes_longer_prompts(lake: Lake, teacher: Model) -> None:
    def too_long(number: int, request: Request) -> Completion:
        return Completion(request, "", "error", 9, 0, 0.1, error="the prompt has 2,000 tokens", permanent=True)

    short, long = (
        Model(teacher.reference.model_copy(update={"max_model_len": n}), teacher.address, teacher.identity)
        for n in (1_000, 4_000)
    )
    [request] = plan(lake, short, _prompts(1)[:1], SAMPLING).missing
    with LedgerWriter(lake, short, {"max_model_len": 1_000}, Purpose()) as ledger:
        ledger.add(too_long(0, request))
    assert plan(lake, short, _prompts(1)[:1], SAMPLING).missing == []
    assert len(plan(lake, long, _prompts(1)[:1], SAMPLING).missing) == 1


def test_a_run_in_which_every_request_fails_stops_long_before_the_last(lake: Lake, teacher: Model) -> None:
    asked = []

    def refuses(number: int, request: Request) -> Completion:
        asked.append(number)
        return Completion(request, "", "error", 0, 0, 0.1, error="HTTP 500: overloaded")

    prompts = [Prompt(f"What is {n} + 1?", 10) for n in range(50)]
    planned = plan(lake, teacher, prompts, SAMPLING)
    with pytest.raises(EngineError, match=r"last 32 requests all failed. The last error: HTTP 500: overloaded"):
        generate(lake, FaultyPool(refuses), teacher, iter([planned.missing]), 500, Purpose(), print)
    assert len(asked) == 32


def test_a_slow_run_of_failures_is_stopped_within_a_minute(teacher: Model, lake: Lake) -> None:
    [request] = plan(lake, teacher, _prompts(1)[:1], SAMPLING).missing
    failure, now = Completion(request, "", "error", 0, 0, 0.1, error="timed out"), [0.0]
    breaker = CircuitBreaker("t", clock=lambda: now[0])
    with pytest.raises(EngineError, match="timed out"):
        for now[0] in (0.0, 15.0, 30.0, 45.0, 60.0):
            breaker.record(failure)
    assert now[0] < 60


def test_texts_of_every_kind_come_back_as_they_were(lake: Lake, teacher: Model) -> None:
    texts = ["\x00", "a\ud800b", "🧮 ≤ \u202e abc", "x" * 1_000_000, "<think>\r\n\t</think> 7 \n", "'; DROP TABLE --"]
    prompts = [Prompt(text.replace("\ud800", "")) for text in texts]
    pool = FaultyPool(lambda number, request: Completion(request, texts[number], "stop", 3, 1, 0.1))
    answers = ledger_client(lake, pool, teacher, SAMPLING, Usage(), Purpose(), print)(prompts)

    back = [join_reasoning(a.reasoning, a.answer) for [a] in answers]
    assert back == [text.replace("\ud800", "\ufffd") for text in texts]


def test_the_ledger_says_what_each_completion_cost_and_who_asked(lake: Lake, untrained_model: Path) -> None:
    price = Price(currency="EUR", prompt_million=1_000_000, completion_million=2_000_000, accelerator_hour=36_000)
    teacher = locate(
        Teacher(
            name="t",
            model=str(untrained_model),
            engine="transformers",
            sampling=SAMPLING,
            price=price,
            hardware=Hardware(accelerator="h100", count=2),
        ),
        Path(),
    )
    spent = _generate(lake, FaultyPool(says("4")), teacher, 2, SAMPLING)
    rows = lake.scan(COMPLETIONS).collect()
    [account] = sum_generation_costs(lake).to_dicts()

    tokens = 8 * (3 * 1 + 4 * 2)
    assert rows["cost"].to_numpy().sum() == pytest.approx(tokens + rows["engine_seconds"].to_numpy().sum() * 2 * 10)
    assert 0 < rows["engine_seconds"].to_numpy().sum() <= spent.engine_seconds
    assert (account["asset"], account["source"], account["model"]) == ("teacher_answers", "s", "t")
    assert (account["completions"], account["completion_tokens"], account["currency"]) == (8, 32, "EUR")
    assert spent.costs["EUR"] == pytest.approx(tokens + spent.engine_seconds * 2 * 10)
    spent.add(Usage(costs=Counter(EUR=1, USD=5)))
    assert spent.costs["USD"] == 5 and show_cost(spent)["cost"] == f"{spent.costs['EUR']:,.6f} EUR + 5.000000 USD"


def test_a_server_that_changed_the_model_behind_a_name_is_known_from_the_answers(lake: Lake) -> None:
    for name, numbers in (("m-2026-01", "123"), ("m-2026-09", "45"), (None, "6")):
        rows = completion_rows("m@served", list(numbers), list(numbers), [None] * len(numbers))
        lake.append(COMPLETIONS, rows.with_columns(engine=pl.lit(json.dumps({"served_model": name} if name else {}))))
    assert count_served_models(lake, "m@served", pl.Series(["1", "2", "4", "6"])).rows() == [
        ("m-2026-01", 2),
        ("m-2026-09", 1),
    ]


def _wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline, "the condition did not come true within 20 s"
        time.sleep(0.02)
