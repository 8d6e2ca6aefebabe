import json
import re
from itertools import islice
from pathlib import Path

import pytest

import openthoughts_dagster
from openthoughts_dagster.quickstart import FAMILIES, SHOP_SUMS
from openthoughts_dagster.quickstart.lessons import ALL_FAMILIES, family_lessons, school_lessons, worked_lesson
from openthoughts_dagster.quickstart.problems import Problem, held_out, problems_of, stream

QUICKSTART = Path(openthoughts_dagster.__file__).parent / "recipes" / "quickstart"
BENCHMARK = QUICKSTART / "benchmarks" / "two_digit_sums" / "test.jsonl"
PROGRAMS = QUICKSTART / "benchmarks" / "sum_programs" / "test.jsonl"


def rows_of(path: Path) -> list[dict[str, str]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def two_numbers(question: str) -> tuple[str, ...]:
    return tuple(sorted(re.findall(r"\d+", question)))


@pytest.mark.parametrize("family", ALL_FAMILIES)
def test_the_same_seed_gives_the_same_problems_and_another_seed_others(family: str) -> None:
    assert problems_of(family, 20, 1) == problems_of(family, 20, 1)
    shared = {p.question for p in problems_of(family, 20, 1)} & {p.question for p in problems_of(family, 20, 2)}
    assert len(shared) < 5


@pytest.mark.parametrize("family", ALL_FAMILIES)
def test_the_work_ends_at_the_answer(family: str) -> None:
    for problem in problems_of(family, 300, 3):
        if family == "letter_counting" and re.search(r"\d", problem.question):
            continue  # a year in the text reads like a count
        assert _answer_read_off(problem) == problem.answer, problem
        assert 1 <= problem.difficulty <= 10


def _answer_read_off(problem: Problem) -> str:
    """The answer that a reader who sees only the work would write down."""
    if problem.family == "spell_backward":
        return "".join(reversed(re.findall(r"\D", problem.worked)))
    if problem.family == "letter_counting":
        return (re.findall(r"\d", problem.worked) or ["0"])[-1]
    *_, ones, tens = problem.worked.split()
    value = 10 * int(tens.rpartition("=")[2]) + int(ones.rpartition("=")[2][-1])
    return str(-value if "<" in problem.worked else value)


def test_a_sum_with_a_carry_is_harder_than_one_without() -> None:
    sums = [p for p in problems_of(SHOP_SUMS, 300, 0) if len(p.answer) == 2]
    with_carry = {p.difficulty for p in sums if p.worked.count("+") == 3}
    without = {p.difficulty for p in sums if p.worked.count("+") == 2}
    assert max(without) < min(with_carry)


def test_the_benchmarks_share_no_pair_of_numbers_with_anything_the_models_are_trained_on() -> None:
    benchmark = {two_numbers(row["question"]) for path in (BENCHMARK, PROGRAMS) for row in rows_of(path)}
    shares = dict.fromkeys(("chain_sum", SHOP_SUMS), 1)
    lessons = islice(family_lessons(worked_lesson, 1, shares), 20_000)
    assert not benchmark & {two_numbers(question) for question, _ in lessons}


def test_school_never_shows_a_sum_of_two_numbers_of_two_digits() -> None:
    for _, completion in islice(school_lessons(1), 5_000):
        assert not re.search(r"\d\d\+\d\d.*=", completion)
        assert completion.count("=") <= 1


def test_the_benchmark_holds_200_sums_in_the_wording_of_the_generator() -> None:
    made: dict[str, Problem] = {}
    for problem in stream("chain_sum", 2026, held=True):
        if " + " in problem.question:
            made.setdefault(problem.question, problem)
        if len(made) == 200:
            break
    assert rows_of(BENCHMARK) == [{"question": p.question, "answer": p.answer} for p in made.values()]


def test_the_programs_to_write_are_ten_sums_of_the_benchmark_and_ten_stories_that_no_source_has() -> None:
    rows, stories = rows_of(PROGRAMS), {row["question"] for row in rows_of(QUICKSTART / "shop_sums.jsonl")}
    assert [row["question"] for row in rows[:10]] == [row["question"] for row in rows_of(BENCHMARK)[:10]]
    assert len(rows) == 20 and not stories & {row["question"] for row in rows}
    for row in rows:
        first, second = re.findall(r"\d+", row["question"])
        assert row["test"].endswith(f"assert candidate() == {int(first) + int(second)}\n")


def test_the_shop_file_is_400_generated_problems_and_six_that_came_in_twice() -> None:
    made = {p.question: p.answer for p in islice(stream(SHOP_SUMS, 2026), 400)}
    rows = rows_of(QUICKSTART / "shop_sums.jsonl")
    assert len(rows) == 406

    def plain(text: str) -> str:
        return " ".join(re.sub(r"\bso how", "how", text.lower()).replace("?", " ?").split())

    wordings = {plain(question): answer for question, answer in made.items()}
    assert all(wordings[plain(row["question"])] == row["answer"] for row in rows)
    assert len(rows) - len({plain(row["question"]) for row in rows}) == 6 + 400 - len(wordings)
    assert sum(len(row) > 2 for row in rows) == 2


@pytest.mark.parametrize("family", ALL_FAMILIES)
def test_a_tenth_of_every_family_is_held_out(family: str) -> None:
    problems = problems_of(family, 1_000, 5)
    assert 0.05 < sum(map(held_out, problems)) / len(problems) < 0.15


def test_a_family_without_work_is_an_error() -> None:
    with pytest.raises(KeyError):
        problems_of("sudoku", 1, 0)
    assert "sudoku" not in FAMILIES
