"""The answers of a partition: planned by key, dealt to shards, published without a copy of a text."""

from pathlib import Path

import polars as pl
import pytest

from openthoughts_dagster.answers import (
    AnswerPlan,
    AnswersMissing,
    Published,
    answer_shard,
    cell_answers,
    plan_answers,
    publish_answers,
)
from openthoughts_dagster.generation.engine import EngineError
from openthoughts_dagster.generation.model import Model, locate
from openthoughts_dagster.generation.requests import Completion, Request
from openthoughts_dagster.lake import COMPLETIONS, DEDUPED_QUESTIONS, Lake, text_hash
from openthoughts_dagster.recipe import (
    Expectations,
    FinishedAnswers,
    KeepAllAnswers,
    Price,
    Sampling,
    Sharding,
    Teacher,
)
from openthoughts_dagster_tests.generation.faulty import FaultyPool, says

SAMPLING = Sampling(max_tokens=6)
SOURCE = "s"


@pytest.fixture
def teacher(untrained_model: Path) -> Model:
    reference = Teacher(name="t", model=str(untrained_model), engine="transformers", sampling=SAMPLING)
    return locate(reference, Path())


def _with(teacher: Model, **changes: object) -> Model:
    return Model(teacher.reference.model_copy(update=changes), teacher.address, teacher.identity)


def _ask_for(lake: Lake, texts: list[str], lengths: list[float] | None = None) -> None:
    """Make `texts` the kept questions of the source; `lengths` are scores of method response_length."""
    scores = ["{}"] * len(texts) if lengths is None else [f'{{"length": {length}}}' for length in lengths]
    rows = pl.DataFrame(
        {
            "source": SOURCE,
            "question_id": [text_hash(text, str(i)) for i, text in enumerate(texts)],
            "domain": "math",
            "question": texts,
            "reference_answer": None,
            "licence": "MIT",
            "origin": "{}",
            "metadata": "{}",
            "scores": scores,
        }
    )
    lake.replace(DEDUPED_QUESTIONS, rows, source=SOURCE)


def _plan(lake: Lake, teacher: Model, samples: int, length_score: str | None = None) -> AnswerPlan:
    answers = cell_answers(lake, SOURCE, "t", samples)
    planned = plan_answers(lake, teacher, answers, length_score)
    answers.replace(lake, answers.plans, planned.rows)
    return planned


def _answer(lake: Lake, pool: FaultyPool, teacher: Model, samples: int) -> int:
    """Plan and run every shard; completions generated."""
    shards = range(_plan(lake, teacher, samples).shards)
    answers = cell_answers(lake, SOURCE, "t", samples)
    return sum(answer_shard(lake, pool, teacher, answers, n, print).generated for n in shards)


def _publish(lake: Lake, teacher: Model, samples: int, method: str = "none", allowed: float = 0.0) -> Published:
    keep = FinishedAnswers(method="finished") if method == "finished" else KeepAllAnswers()
    return publish_answers(lake, teacher, cell_answers(lake, SOURCE, "t", samples), keep, allowed)


QUESTIONS = [f"What is {n} + 1?" for n in range(4)]


def test_more_answers_cost_only_the_new_ones_fewer_are_read_and_a_removed_question_is_not(
    lake: Lake, teacher: Model
) -> None:
    _ask_for(lake, QUESTIONS)
    pool = FaultyPool(says("<think>1+1=2</think>2"))
    generated, read = [], []
    for samples in (2, 2, 5, 1):
        generated.append(_answer(lake, pool, teacher, samples))
        read.append(_publish(lake, teacher, samples).answers.height)
    assert (generated, read) == ([8, 0, 12, 0], [8, 8, 20, 4])

    _ask_for(lake, [*QUESTIONS[1:], "What is new?"])
    assert _answer(lake, pool, teacher, 1) == 1
    answers = lake.answers(source=SOURCE, teacher="t") if _publish(lake, teacher, 1) else None
    assert answers is not None
    asked = answers.select("prompt").collect()["prompt"]
    assert asked.len() == 4 and not asked.str.contains("What is 0").any()
    assert lake.scan(COMPLETIONS).collect().height == 21  # what was paid for stays


def test_answers_to_answered_questions_are_told_from_those_to_new_ones_and_from_failed_ones(
    lake: Lake, teacher: Model
) -> None:
    def fails_once(number: int, request: Request) -> Completion:
        error = "the server broke" if number == 0 else None
        return Completion(request, "", "error", 3, 0, 0.1, error=error) if error else says("2")(number, request)

    _ask_for(lake, QUESTIONS)
    assert _plan(lake, teacher, 2).moved == 0  # nothing is answered yet
    _answer(lake, FaultyPool(fails_once), teacher, 2)
    _publish(lake, teacher, 2, allowed=0.5)
    _ask_for(lake, [*QUESTIONS, "What is new?"])
    for changed, samples, moved, missing in (
        (teacher, 2, 0, 3),  # the failed one and two new ones
        (teacher, 3, 4, 8),
        (_with(teacher, sampling=Sampling(max_tokens=6, temperature=0.5)), 2, 8, 10),
        (_with(teacher, system_prompt="Be brief."), 2, 8, 10),
    ):
        planned = plan_answers(lake, changed, cell_answers(lake, SOURCE, "t", samples))
        assert (planned.moved, planned.estimate.completions) == (moved, missing)


def test_publishing_again_moves_neither_the_data_version_nor_a_file(lake: Lake, teacher: Model) -> None:
    _ask_for(lake, QUESTIONS)
    _answer(lake, FaultyPool(says("2")), teacher, 2)
    first = _publish(lake, teacher, 2)
    files = sorted(Path(lake.root, "teacher_answers").rglob("*"))
    again = _publish(lake, teacher, 2)
    assert again.data_version == first.data_version
    assert sorted(Path(lake.root, "teacher_answers").rglob("*")) == files


def test_two_questions_of_one_text_get_answers_of_their_own_and_are_paid_once(lake: Lake, teacher: Model) -> None:
    _ask_for(lake, ["What is 1 + 1?"] * 2)
    assert _answer(lake, FaultyPool(says("2")), teacher, 3) == 6
    answers = _publish(lake, teacher, 3).answers
    assert answers["completion_id"].n_unique() == answers.height == 6
    assert sorted(answers["sample_index"]) == [0, 1, 2, 3, 4, 5]
    assert _answer(lake, FaultyPool(says("2")), teacher, 3) == 0


def test_two_shards_that_were_given_the_same_work_leave_no_duplicate_in_what_is_read(
    lake: Lake, teacher: Model
) -> None:
    _ask_for(lake, QUESTIONS)
    _plan(lake, teacher, 2)
    requests: list[Request] = []

    def collects(number: int, request: Request) -> Completion:
        requests.append(request)
        return Completion(request, f"answer {number}", "stop", 3, 1, 0.1)

    answer_shard(lake, FaultyPool(collects), teacher, cell_answers(lake, SOURCE, "t", 2), 0, print)
    first = _publish(lake, teacher, 2)
    texts = lake.answers(source=SOURCE, teacher="t").sort("completion_id").collect()
    twice = lake.scan(COMPLETIONS).with_columns(completion_id=pl.col("completion_id").str.reverse()).collect()
    lake.append(COMPLETIONS, twice.with_columns(pl.lit("another answer").alias("answer")))
    second = _publish(lake, teacher, 2)

    assert lake.scan(COMPLETIONS).collect().height == 16
    assert second.answers.height == 8
    assert lake.answers(source=SOURCE, teacher="t").collect().height == 8
    assert texts.height == 8 and first.answers.height == 8


def test_shards_cover_every_missing_answer_once_and_start_with_the_longest(lake: Lake, teacher: Model) -> None:
    _ask_for(lake, [f"What is {n} + 1?" for n in range(40)], lengths=[float(n % 10 + 1) for n in range(40)])
    small = _with(teacher, shards=Sharding(tokens=60), expected=Expectations(completion_tokens=5))
    planned = _plan(lake, small, 2, "length")

    assert planned.shards == 7  # 40 questions x 2 samples x 5 tokens over 60
    assert planned.rows["expected_tokens"].is_sorted(descending=True)
    assert planned.rows["expected_tokens"].max() > 2 * planned.rows["expected_tokens"].min()  # type: ignore[operator]
    sizes = planned.rows.group_by("shard").len()["len"]
    assert set(planned.rows["shard"]) == set(range(7)) and sizes.max() - sizes.min() <= 1  # type: ignore[operator]
    asked: list[str] = []

    def collects(number: int, request: Request) -> Completion:
        asked.append(f"{request.key} {request.sample_index}")
        return Completion(request, "2", "stop", 3, 1, 0.1)

    for shard in range(7):
        answer_shard(lake, FaultyPool(collects), small, cell_answers(lake, SOURCE, "t", 2), shard, print)
    assert len(asked) == len(set(asked)) == 80
    assert _plan(lake, small, 2, "length").shards == 0


def test_a_shard_that_is_tried_again_asks_only_for_what_it_had_not_committed(lake: Lake, teacher: Model) -> None:
    _ask_for(lake, QUESTIONS)
    _plan(lake, teacher, 2)

    def stops(number: int, request: Request) -> Completion:
        if number == 5:
            raise EngineError("t: preempted")
        return Completion(request, "2", "stop", 3, 1, 0.1)

    with pytest.raises(EngineError, match="preempted"):
        answer_shard(lake, FaultyPool(stops), teacher, cell_answers(lake, SOURCE, "t", 2), 0, print)
    assert (
        answer_shard(lake, FaultyPool(says("2")), teacher, cell_answers(lake, SOURCE, "t", 2), 0, print).generated == 3
    )


def test_a_shard_whose_recipe_changed_since_the_plan_asks_nothing(lake: Lake, teacher: Model) -> None:
    """Its step reads the recipe again, which somebody may have edited while earlier steps ran for hours."""
    _ask_for(lake, QUESTIONS)
    _plan(lake, teacher, 2)
    pool, answers = FaultyPool(says("2")), cell_answers(lake, SOURCE, "t", 2)
    edits: list[dict[str, object]] = [
        {"sampling": Sampling(max_tokens=6, temperature=0.5)},
        {"system_prompt": "Be brief."},
    ]
    for changes in edits:
        with pytest.raises(EngineError, match="the recipe or the model changed since this run planned"):
            answer_shard(lake, pool, _with(teacher, **changes), answers, 0, print)
    assert lake.scan(COMPLETIONS).collect().is_empty()
    assert answer_shard(lake, pool, _with(teacher, max_in_flight=3), answers, 0, print).generated == 8


def test_more_failures_than_the_recipe_allows_fail_the_partition_and_name_the_requests(
    lake: Lake, teacher: Model
) -> None:
    _ask_for(lake, QUESTIONS)
    _answer(lake, FaultyPool(says("2")), teacher, 1)
    before = _publish(lake, teacher, 1)

    def every_other_fails(number: int, request: Request) -> Completion:
        problem = "HTTP 500: overloaded" if number % 2 else None
        return Completion(request, "" if problem else "2", "error" if problem else "stop", 3, 1, 0.1, error=problem)

    _answer(lake, FaultyPool(every_other_fails), teacher, 3)
    with pytest.raises(
        AnswersMissing, match=r"4 of 12 answers to s are missing.*allows.*overloaded \(4 times\).*sample [12]"
    ):
        _publish(lake, teacher, 3, allowed=0.25)
    assert lake.answers(source=SOURCE, teacher="t").collect().height == before.answers.height

    allowed = _publish(lake, teacher, 3, allowed=0.5)
    assert (allowed.answers.height, allowed.rejected.height) == (8, 4)
    assert set(allowed.rejected["reason"]) == {"error"}


def test_answers_without_content_are_rejected_with_their_reason(lake: Lake, teacher: Model) -> None:
    def first_is_empty(number: int, request: Request) -> Completion:
        return Completion(request, "  " if number == 0 else "<think>1+1=2</think>2", "stop", 3, 4, 0.1)

    _ask_for(lake, QUESTIONS)
    _answer(lake, FaultyPool(first_is_empty), teacher, 2)
    published = _publish(lake, teacher, 2)
    assert published.answers.height == 7
    assert published.rejected["reason"].to_list() == ["empty"]
    assert published.rejected["evidence"].to_list() == ["the model wrote nothing in 4 tokens (stop)"]


def test_a_teacher_that_says_nothing_at_all_is_an_error(lake: Lake, teacher: Model) -> None:
    _ask_for(lake, QUESTIONS)
    _answer(lake, FaultyPool(says("")), teacher, 2)
    with pytest.raises(EngineError, match=r"none of its 8 answers to s can be kept \(empty: the model wrote"):
        _publish(lake, teacher, 2)


def test_a_trace_that_is_cut_off_is_kept_unless_the_filter_wants_finished_ones(lake: Lake, teacher: Model) -> None:
    pool = FaultyPool(
        lambda n, r: Completion(r, "<think>1+1" if n < 3 else "2", "length" if n < 3 else "stop", 3, 4, 0)
    )
    _ask_for(lake, QUESTIONS)
    _answer(lake, pool, teacher, 2)
    kept = _publish(lake, teacher, 2)
    assert (kept.answers.height, kept.rejected.height, kept.truncated) == (8, 0, 3)
    finished = _publish(lake, teacher, 2, method="finished")
    assert (finished.answers.height, set(finished.rejected["reason"])) == (5, {"unfinished"})


def test_an_estimate_says_what_is_missing_and_what_it_would_cost(lake: Lake, teacher: Model) -> None:
    _ask_for(lake, QUESTIONS)
    priced = _with(
        teacher,
        price=Price(completion_million=1_000_000, currency="EUR"),
        expected=Expectations(completion_tokens=5, tokens_per_second=10),
    )
    before = _plan(lake, priced, 2).estimate
    assert (before.completions, before.reused, before.completion_tokens, before.cost) == (8, 0, 40, 40)
    assert "nothing was measured yet" in before.says()

    _answer(lake, FaultyPool(says("2")), priced, 6)  # four tokens each
    after = _plan(lake, priced, 8).estimate
    assert (after.completions, after.reused, after.completion_tokens) == (8, 24, 32)
    assert after.cost == 32 and "by 24 completions of s" in after.says()
