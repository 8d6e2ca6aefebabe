"""Batches of a server: they are paid for once, whatever ends the process, and each failed line is a row."""

import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from openthoughts_dagster.generation.engine import EngineError
from openthoughts_dagster.generation.generate import ledger_client
from openthoughts_dagster.generation.ledger_writer import Purpose
from openthoughts_dagster.generation.model import Model, locate
from openthoughts_dagster.generation.pool import EnginePool
from openthoughts_dagster.generation.requests import Answer, Prompt
from openthoughts_dagster.generation.usage import Usage
from openthoughts_dagster.lake import COMPLETIONS, REQUEST_BATCHES, Lake
from openthoughts_dagster.recipe import CommitBudget, ModelReference, Price, Sampling, identity_of
from openthoughts_dagster.recipe.serving import BatchOptions
from openthoughts_dagster_tests.generation.batch_server import BatchServer, answer_line, refuse_line
from openthoughts_dagster_tests.generation.faulty_server import BRIEF

PROMPTS = [Prompt(f"question {n}") for n in range(5)]


def batch_model(url: str, **options: Any) -> Model:
    reference = ModelReference(
        name="judge",
        model="m",
        engine="openai",
        mode="batch",
        base_url=url,
        retry=BRIEF,
        batch=BatchOptions(**{"poll_seconds": 0.02, "requests": 3} | options),
        price=Price(prompt_million=1, completion_million=10),
        commit=CommitBudget(seconds=0.2),
    )
    return locate(reference, Path())


def ask(lake: Lake, server: BatchServer, prompts: list[Prompt] = PROMPTS, **options: Any) -> list[list[Answer]]:
    pool = EnginePool()
    sampling = Sampling(max_tokens=50)
    try:
        model = batch_model(server.url, **options)
        return ledger_client(lake, pool, model, sampling, Usage(), Purpose("scored_questions", "s"), print)(prompts)
    finally:
        pool.close()


@pytest.fixture
def server() -> Iterator[BatchServer]:
    with BatchServer().running() as server:
        yield server


def test_requests_go_into_batches_and_cost_the_part_that_the_recipe_says(lake: Lake, server: BatchServer) -> None:
    answers = ask(lake, server)
    assert [answer.answer for [answer] in answers] == [f"re: question {n}" for n in range(5)]
    assert [len(server.lines(batch["input_file_id"])) for batch in server.batches.values()] == [3, 2]
    rows = lake.scan(COMPLETIONS).collect()
    assert rows["cost"].to_list() == [pytest.approx((1000 * 1 + 2000 * 10) / 1e6 / 2)] * 5
    assert set(rows["seconds"]) == {60.0}
    ask(lake, server)
    assert set(server.paid.values()) == {1}


def test_how_a_model_is_asked_is_no_part_of_its_keys() -> None:
    batch, one_by_one = (batch_model("http://127.0.0.1:9/v1").reference, ModelReference(name="judge", model="m"))
    assert identity_of(batch) == identity_of(one_by_one)


def test_a_failed_line_is_a_row_with_its_reason_and_is_asked_again_only_if_that_may_help(
    lake: Lake, server: BatchServer
) -> None:
    lines = {
        "question 0": refuse_line(400, "flagged by moderation", code="content_filter"),
        "question 1": refuse_line(500, "internal error"),
        "question 2": {"response": None, "error": {"code": "batch_expired", "message": "not in time"}},
        "question 3": {},  # in neither file
    }
    server.answer = lambda line: lines.get(line["body"]["messages"][-1]["content"], answer_line(line))
    server.statuses = {"batch_0": "expired"}
    found = [answer for [answer] in ask(lake, server, requests=10)]
    assert [answer.error is None for answer in found] == [False] * 4 + [True]
    for answer, said in zip(found, ("moderation", "HTTP 500", "batch_expired", "ended as expired"), strict=False):
        assert said in str(answer.error)
    assert found[0].finish_reason == "content_filter"

    lines.clear()
    found = [answer for [answer] in ask(lake, server, requests=10)]
    assert [answer.error is None for answer in found] == [False] + [True] * 4
    assert sorted(server.paid.values()) == [1, 1, 2, 2, 2]


def test_a_broken_line_of_the_results_costs_one_answer_and_not_all(lake: Lake, server: BatchServer) -> None:
    server.tear = b'{"custom_id": "'
    answers = [answer.error for [answer] in ask(lake, server, requests=10)]
    assert [error is None for error in answers] == [False] + [True] * 4 and "without it" in str(answers[0])
    server.tear = b""
    ask(lake, server, requests=10)
    assert sorted(server.paid.values()) == [1, 1, 1, 1, 2]


def test_a_refused_parameter_is_left_out_in_the_next_batch(lake: Lake, server: BatchServer) -> None:
    def answer(line: dict[str, Any]) -> dict[str, Any]:
        if "max_tokens" in line["body"]:
            return refuse_line(400, "'max_tokens' is not supported", param="max_tokens")
        return answer_line(line)

    server.answer = answer
    assert all(answer.error is None for [answer] in ask(lake, server))
    assert server.bodies[-1]["max_completion_tokens"] == 50


def test_a_batch_that_the_server_refuses_beside_others_waits_for_them(lake: Lake, server: BatchServer) -> None:
    server.statuses, server.errors = {"batch_1": "failed"}, {"code": "token_limit_exceeded", "message": "enqueued"}
    server.waits["batch_0"] = 3
    assert all(answer.error is None for [answer] in ask(lake, server))
    assert [batch["status"] for batch in server.batches.values()] == ["completed", "failed", "completed"]


def test_a_batch_that_fails_alone_stops_with_the_reason_of_the_server(lake: Lake, server: BatchServer) -> None:
    server.statuses, server.errors = {"batch_0": "failed"}, {"code": "invalid_model", "message": "no batches of m"}
    with pytest.raises(EngineError, match="no batches of m"):
        ask(lake, server, requests=10)


def test_results_that_the_server_has_deleted_are_asked_again(lake: Lake, server: BatchServer) -> None:
    server.answer = lambda line: {}
    with pytest.raises(EngineError, match="all 5 requests failed"):
        ask(lake, server)
    server.answer = answer_line
    assert all(answer.error is None for [answer] in ask(lake, server))


def main(root: str, url: str) -> None:
    """Ask until the process is killed."""
    server = BatchServer()
    server.url = url
    ask(Lake(root), server)


def _killed(lake: Lake, server: BatchServer, moment: Callable[[], bool]) -> None:
    """Ask in a process of its own, and kill it as soon as the server's state says so."""
    code = f"from openthoughts_dagster_tests.generation.test_batches import main; main({lake.root!r}, {server.url!r})"
    process = subprocess.Popen([sys.executable, "-c", code])
    deadline = time.monotonic() + 60
    while not moment() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.005)
    assert process.poll() is None and moment()
    process.send_signal(signal.SIGKILL)
    process.wait()


@pytest.mark.faults
def test_killed_at_every_moment_of_a_batch_it_is_paid_for_once(tmp_path: Path) -> None:
    for number in range(4):
        lake, server = Lake(tmp_path / f"lake_{number}"), BatchServer(page=1)
        server.finish = False
        with server.running():
            moments: list[Callable[[], bool]] = [
                lambda s=server: len(s.files) > 0,  # type: ignore[misc]
                lambda x=lake: x.scan(REQUEST_BATCHES).collect().height > 0,  # type: ignore[misc]
                lambda s=server: len(s.batches) == 1,  # type: ignore[misc]
                lambda s=server: len(s.batches) == 2,  # type: ignore[misc]
            ]
            server.hold = number == 2  # the batch is made, and its id never reaches the process
            _killed(lake, server, moments[number])
            server.hold, server.finish = False, True
            answers = ask(lake, server)
            assert all(answer.error is None for [answer] in answers)
            assert set(server.paid.values()) == {1} and len(server.paid) == 5
            assert lake.scan(COMPLETIONS).collect().height == 5


def test_only_a_server_has_batches() -> None:
    with pytest.raises(ValidationError, match="is for engine openai"):
        ModelReference(name="j", model="m", engine="vllm", mode="batch")
