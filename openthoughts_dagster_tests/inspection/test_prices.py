"""What is missing has a price before it is launched, from what was measured; what is not known is never 0."""

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from openthoughts_dagster.generation.usage import sum_generation_costs
from openthoughts_dagster.inspection.prices import PriceRow, Prices, totals
from openthoughts_dagster.inspection.question_prices import judge_prices, teacher_prices
from openthoughts_dagster.inspection.student_prices import (
    evaluation_prices,
    reference_prices,
    release_prices,
    student_prices,
    study_prices,
)
from openthoughts_dagster.lake import (
    DEDUPED_QUESTIONS,
    RAW_SOURCES,
    RELEASE_SCORES,
    RELEASE_STUDENTS,
    RELEASE_VERSIONS,
    SCORED_QUESTIONS,
    TEACHER_ANSWERS,
)
from openthoughts_dagster.recipe.answers import VerifiedAnswers
from openthoughts_dagster.storage import Folders
from openthoughts_dagster_tests.cli.conftest import run
from openthoughts_dagster_tests.evaluation.helpers import json_lines
from openthoughts_dagster_tests.inspection.house import SOURCE, TEACHER, House, make_house

STUDY = {"name": "s", "question": "?", "arms": {"a": {"questions": 2}, "b": {"questions": 3}}, "seeds": 2}
RELEASE = {"name": "r", "title": "t", "licence": "MIT", "sources": [SOURCE]}


@pytest.fixture
def filled(tmp_path: Path) -> House:
    benchmark = json_lines(tmp_path / "b.jsonl", [{"question": f"{n}?", "answer": n} for n in range(7)])
    evaluation = {"benchmarks": [{"name": "b", "kind": "file", "path": str(benchmark), "repeats": 3}]}
    return make_house(tmp_path, evaluation=evaluation, studies=[STUDY], release=RELEASE)


def prices_of(filled: House) -> Prices:
    return Prices(filled.recipe, filled.lake, Folders())


def test_nothing_is_missing_where_everything_is_there(filled: House) -> None:
    prices = prices_of(filled)
    [judge] = judge_prices(prices, [SOURCE])
    assert (judge.completions, judge.reused, judge.basis) == (0, 6, "nothing is missing")
    [teacher] = teacher_prices(prices, [SOURCE], [TEACHER])
    assert (teacher.completions, teacher.reused) == (0, 10)
    assert list(student_prices(prices, [SOURCE], [TEACHER])) == []
    assert list(evaluation_prices(prices, [SOURCE], [TEACHER])) == []


def test_questions_that_came_later_are_priced_by_what_was_measured(filled: House) -> None:
    raw = filled.lake.scan(RAW_SOURCES).collect().to_dicts()
    more = [raw[0] | {"question_id": f"new {n}", "question": "x" * 40} for n in range(4)]
    filled.write(RAW_SOURCES, *raw, *more, source=SOURCE)
    [judge] = judge_prices(prices_of(filled), [SOURCE])
    # four questions, up to 16,384 tokens each: six replies are too few to measure; a million costs 1 USD
    assert (judge.completions, judge.tokens, judge.cost) == (4, 4 * 16384, pytest.approx(0.065536))
    assert "max_tokens, an upper bound" in judge.basis


def test_a_source_is_priced_before_it_was_read_or_curated(filled: House) -> None:
    filled.lake.replace(DEDUPED_QUESTIONS, DEDUPED_QUESTIONS.schema.to_frame(), source=SOURCE)
    [read] = teacher_prices(prices_of(filled), [SOURCE], [TEACHER])
    assert (read.completions, read.reused) == (5 * 2, 0) and "at most, before curation: questions that" in read.basis
    for table in (RAW_SOURCES, SCORED_QUESTIONS):
        filled.lake.replace(table, table.schema.to_frame(), source=SOURCE)
    [unread] = judge_prices(prices_of(filled), [SOURCE])
    assert unread.completions == 24 and "the recipe's limit of the source" in unread.basis


def test_trainings_take_the_hours_of_earlier_ones_and_have_no_price_without_one(filled: House) -> None:
    prices = prices_of(filled)
    [row] = student_prices(prices, [SOURCE], ["another"])
    rows = filled.recipe.student.rows  # the student of the house took 8 s for 4 rows, and has no price
    assert row.hours == pytest.approx(rows * 2 / 3600) and row.cost is None and row.trainings == 1
    assert "by 1 trainings in student_checkpoint: 2 s a row; no price an hour for student" in row.basis
    priced = filled.recipe.student.model_copy(
        update={
            "price": filled.recipe.student.price.model_validate({"accelerator_hour": 3}),
            "hardware": filled.recipe.student.hardware.model_validate({"accelerator": "h100", "count": 2}),
        }
    )
    costly = Prices(filled.recipe.model_copy(update={"student": priced}), filled.lake, Folders())
    [row] = student_prices(costly, [SOURCE], ["another"])
    assert row.cost == pytest.approx(2 * rows * 2 / 3600 * 3)


def test_benchmarks_references_studies_and_the_release_have_rows(filled: House) -> None:
    prices = prices_of(filled)
    [row] = evaluation_prices(prices, [SOURCE], ["another"])
    assert row.completions == 7 * 3 and row.cost is None and "no price for student" in row.basis
    references = list(reference_prices(prices, filled.recipe.references()))
    assert [row.of for row in references] == ["untrained", TEACHER] and references[1].cost is not None
    study = list(study_prices(prices, filled.recipe.studies[0]))
    assert [(row.of, row.completions, row.trainings) for row in study[:3]] == [
        ("s.a", 4, 0),
        ("s.a", None, 2),
        ("s.a", 7 * 3 * 2, 0),
    ]
    training, evaluation = release_prices(prices, [TEACHER])
    assert training.basis.startswith("9 rows; ") and evaluation.completions == 21

    # A student of an older version is not the present one's, and `rows` bounds what it learns from.
    made = {"teacher": TEACHER, "version": "v2", "made_at": datetime.now(UTC), "path": "p", "record": "{}"}
    filled.write(RELEASE_VERSIONS, made, teacher=TEACHER)
    for table in (RELEASE_STUDENTS, RELEASE_SCORES):
        filled.write(table, {"teacher": TEACHER, "version": "v1"}, teacher=TEACHER)
    assert filled.recipe.release is not None
    few = filled.recipe.release.model_copy(update={"student": {"rows": 4}})
    other = Prices(filled.recipe.model_copy(update={"release": few}), filled.lake, Folders())
    assert next(release_prices(other, [TEACHER])).basis.startswith("4 rows; ")
    filled.write(RELEASE_STUDENTS, {"teacher": TEACHER, "version": "v2"}, teacher=TEACHER)
    assert [(row.trainings, row.completions) for row in release_prices(other, [TEACHER])] == [(0, 21)]


def test_a_filter_that_asks_a_judge_has_a_row_until_the_answers_are_there(filled: House) -> None:
    judged = VerifiedAnswers(method="verified", match="judge", judge="judge")
    prices = Prices(filled.recipe.model_copy(update={"answer_filter": judged}), filled.lake, Folders())
    assert len(list(teacher_prices(prices, [SOURCE], [TEACHER]))) == 1
    filled.lake.replace(DEDUPED_QUESTIONS, DEDUPED_QUESTIONS.schema.to_frame(), source=SOURCE)
    _, asking = teacher_prices(prices, [SOURCE], [TEACHER])
    assert (asking.of, asking.model, asking.cost) == (f"{SOURCE}/{TEACHER}: answer filter", "judge", None)


def test_sums_leave_out_what_is_unknown_and_say_so() -> None:
    known = PriceRow("teachers", "a", "m", "", completions=10, cost=2.0)
    unknown = PriceRow("students", "b", "m", "", trainings=1)
    assert totals([known, unknown]) == (
        "10 completions to generate and 1 training, about 2.00 USD; this leaves out 1 row whose cost is unknown"
    )
    assert totals([unknown]).endswith("the cost is unknown") and totals([]).endswith("at no cost")


def test_plan_prints_every_stage_and_json(filled: House, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENTHOUGHTS_RECIPE", str(tmp_path / "recipe"))
    monkeypatch.setenv("OPENTHOUGHTS_DATA", str(tmp_path))
    done = run("plan")
    assert done.exit_code == 0, done.output
    for stage in ("judges", "teachers", "references", "studies", "release", "in all"):
        assert f"\n{stage}: " in done.output
    assert "unknown" in done.output and "0.00 USD" not in done.output
    assert "note: release: the licence gate stops sums: " in done.output
    rows = [json.loads(line) for line in run("plan", "--study", "s", "--json").output.splitlines()]
    assert {row["stage"] for row in rows} == {"studies"} and len(rows) == 6
    assert "no study 'x'; there are s" in run("plan", "--study", "x").output


def test_costs_have_the_teacher_and_older_rows_that_of_the_answers(filled: House) -> None:
    costs = sum_generation_costs(filled.lake)
    assert set(costs.select("asset", "source", "teacher").rows()) == {
        (TEACHER_ANSWERS.name, SOURCE, TEACHER),
        (SCORED_QUESTIONS.name, SOURCE, None),
    }
