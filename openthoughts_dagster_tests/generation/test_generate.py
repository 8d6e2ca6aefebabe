"""Nothing is paid for twice, nothing that was paid for is lost."""

import time
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from openthoughts_dagster.generation.answers import answer_questions
from openthoughts_dagster.generation.engine import EngineError
from openthoughts_dagster.generation.generate import asker, generate, plan
from openthoughts_dagster.generation.ledger import LedgerWriter
from openthoughts_dagster.generation.model import Model, locate
from openthoughts_dagster.generation.requests import Completion, Prompt, Request
from openthoughts_dagster.lake import COMPLETIONS, Lake, LakeError
from openthoughts_dagster.recipe import AnswerFilter, Sampling, Teacher
from openthoughts_dagster_tests.generation.faulty import FaultyPool, says

QUESTIONS = pl.DataFrame(
    {"source": ["s"] * 4, "question_id": list("abcd"), "question": [f"What is {n} + 1?" for n in range(4)]}
)
SAMPLING = Sampling(max_tokens=6)


@pytest.fixture
def teacher(untrained_model: Path) -> Model:
    return locate(Teacher(name="t", model=str(untrained_model), engine="transformers", sampling=SAMPLING), Path())


def _prompts(samples: int) -> list[Prompt]:
    return [Prompt(question, samples) for question in QUESTIONS["question"]]


def test_a_rerun_generates_nothing_and_raising_samples_generates_only_the_missing(lake: Lake, teacher: Model) -> None:
    pool = FaultyPool(says("4"))
    counts = []
    for samples in (2, 2, 5):
        spent = generate(lake, pool, plan(lake, teacher, _prompts(samples), SAMPLING), print)
        counts.append((spent.generated, spent.reused))

    assert counts == [(8, 0), (0, 8), (12, 8)]
    assert lake.scan(COMPLETIONS).collect().height == 20


def test_a_changed_temperature_asks_anew_and_the_old_rows_stay(lake: Lake, teacher: Model) -> None:
    pool = FaultyPool(says("4"))
    for sampling in (SAMPLING, Sampling(max_tokens=6, temperature=0.5)):
        spent = generate(lake, pool, plan(lake, teacher, _prompts(1), sampling), print)
        assert spent.generated == 4
    assert lake.scan(COMPLETIONS).collect().height == 8


def test_an_engine_that_dies_loses_no_completion_that_had_ended(lake: Lake, teacher: Model) -> None:
    def dies_at_the_sixth(number: int, request: Request) -> Completion:
        if number == 5:
            raise EngineError("t: the engine died")
        return Completion(request, "4", "stop", 3, 1, 0.1)

    with pytest.raises(EngineError, match="the engine died"):
        generate(lake, FaultyPool(dies_at_the_sixth), plan(lake, teacher, _prompts(2), SAMPLING), print)

    again = plan(lake, teacher, _prompts(2), SAMPLING)
    assert (again.reused, len(again.missing)) == (5, 3)


def test_failed_requests_are_recorded_and_asked_again(lake: Lake, teacher: Model) -> None:
    def every_other_fails(number: int, request: Request) -> Completion:
        if number % 2:
            return Completion(request, "", "error", 0, 0, 0.1, error="HTTP 500")
        return Completion(request, "4", "stop", 3, 1, 0.1)

    spent = generate(lake, FaultyPool(every_other_fails), plan(lake, teacher, _prompts(1), SAMPLING), print)
    assert (spent.generated, spent.failed) == (2, 2)
    answers = asker(lake, FaultyPool(says("4")), teacher, SAMPLING, spent, print)(_prompts(1))
    assert [a.error for [a] in answers] == [None] * 4
    assert (spent.generated, spent.reused, spent.failed) == (4, 2, 2)


def test_when_every_request_fails_the_last_error_is_raised(lake: Lake, teacher: Model) -> None:
    pool = FaultyPool(lambda _, request: Completion(request, "", "error", 0, 0, 0.1, error="HTTP 500: overloaded"))
    with pytest.raises(EngineError, match="all 4 requests failed; the last error: HTTP 500: overloaded"):
        generate(lake, pool, plan(lake, teacher, _prompts(1), SAMPLING), print)


def test_a_ledger_that_cannot_be_written_stops_the_paying(tmp_path: Path, teacher: Model) -> None:
    (tmp_path / "lake").write_text("a file where the lake should be")
    asked = []

    def counts(number: int, request: Request) -> Completion:
        asked.append(number)
        return Completion(request, "4", "stop", 3, 1, 0.1)

    with pytest.raises((LakeError, OSError)):
        planned = plan(Lake(tmp_path / "elsewhere"), teacher, _prompts(50), SAMPLING)
        generate(Lake(tmp_path / "lake"), FaultyPool(counts), planned, print)


def test_completions_are_committed_while_others_are_still_running(lake: Lake, teacher: Model) -> None:
    request = plan(lake, teacher, _prompts(1), SAMPLING).missing[0]
    with LedgerWriter(lake, teacher, {}, seconds=0.05) as ledger:
        ledger.add(Completion(request, "<think>1+1=2</think>2", "stop", 3, 4, 0.1))
        _wait_for(lambda: lake.scan(COMPLETIONS).collect().height == 1)
    row = lake.scan(COMPLETIONS).collect().row(0, named=True)
    assert (row["reasoning"], row["answer"]) == ("1+1=2", "2")


def test_answers_without_content_are_rejected_with_their_reason(lake: Lake, teacher: Model) -> None:
    def first_is_empty(number: int, request: Request) -> Completion:
        return Completion(request, "  " if number == 0 else "<think>1+1=2</think>2", "stop", 3, 4, 0.1)

    answered = answer_questions(lake, FaultyPool(first_is_empty), teacher, QUESTIONS, 2, AnswerFilter(), print)

    assert answered.answers.height == 7
    assert answered.rejected.select("question_id", "sample_index", "reason").rows() == [("a", 0, "empty")]


def test_a_teacher_that_says_nothing_at_all_is_an_error(lake: Lake, teacher: Model) -> None:
    with pytest.raises(EngineError, match=r"t: none of its 8 answers can be kept \(empty: the model wrote nothing"):
        answer_questions(lake, FaultyPool(says("")), teacher, QUESTIONS, 2, AnswerFilter(), print)


def test_a_trace_that_is_cut_off_is_kept_unless_the_filter_wants_finished_ones(lake: Lake, teacher: Model) -> None:
    pool = FaultyPool(
        lambda n, r: Completion(r, "<think>1+1" if n < 3 else "2", "length" if n < 3 else "stop", 3, 4, 0)
    )
    kept = answer_questions(lake, pool, teacher, QUESTIONS, 2, AnswerFilter(), print)
    assert (kept.answers.height, kept.rejected.height) == (8, 0)
    finished = answer_questions(lake, pool, teacher, QUESTIONS, 2, AnswerFilter(method="finished"), print)
    assert (finished.answers.height, set(finished.rejected["reason"])) == (5, {"unfinished"})
    assert finished.spent.generated == 0


def _wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline, "the condition did not come true within 20 s"
        time.sleep(0.02)
