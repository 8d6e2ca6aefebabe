"""Every answer to every benchmark item can be looked at, on the terminal, as JSON, and on a page."""

import json
from pathlib import Path

import polars as pl
import pytest

from openthoughts_dagster.evaluation import benchmark_items, compare_items, example_items, scores_version
from openthoughts_dagster.inspection.item_pages import comparison_page, items_page
from openthoughts_dagster.inspection.students import StudentNotFound, find_student
from openthoughts_dagster.lake import BENCHMARK_SCORES, REFERENCE_SCORES, Lake
from openthoughts_dagster.recipe import Evaluation, FileBenchmark
from openthoughts_dagster_tests.cli.conftest import folder as folder
from openthoughts_dagster_tests.cli.conftest import run
from openthoughts_dagster_tests.evaluation.helpers import json_lines
from openthoughts_dagster_tests.inspection.scored import score
from openthoughts_dagster_tests.pages.parsing import PageParser

EVIL = "<script>alert('x')</script>"


def sums(path: Path, repeats: int = 1) -> Evaluation:
    rows = [{"question": f"{n}+1?", "answer": n + 1} for n in range(4)]
    path = json_lines(path / "b.jsonl", rows)
    return Evaluation(
        benchmarks=[FileBenchmark(kind="file", name="sums", path=str(path), repeats=repeats)], missing_answers=1
    )


def right(question: str, _: int) -> str:
    return f"Answer: {int(question[0]) + 1}"


def first_two_right(question: str, index: int) -> str:
    return right(question, index) if int(question[0]) < 2 else f"{EVIL} Answer: 77"


def test_every_answer_is_joined_with_its_texts_and_verdict(tmp_path: Path, lake: Lake) -> None:
    def reply(question: str, index: int) -> str | Exception:
        said: list[str | Exception] = [right(question, index), "Answer: 99", "no idea", ValueError("refused")]
        return said[int(question[0])]

    score(lake, BENCHMARK_SCORES, sums(tmp_path), reply, tmp_path, source="s", teacher="t")
    rows = benchmark_items(lake, BENCHMARK_SCORES, source="s", teacher="t").collect()
    assert rows["verdict"].to_list() == ["right", "wrong", "wrong", "failed"]
    assert rows["extracted"].to_list() == ["1", "99", None, None]
    assert rows["reference"].to_list() == ["1", "2", "3", "4"]
    assert rows["prompt"].to_list() == [f"<user>{n}+1?" for n in range(4)]
    assert rows["reasoning"][0] == "thought" and rows["completion_tokens"][0] == 4
    assert rows["error"][3] == "refused" and rows["seed"].null_count() == 0
    shown = example_items(lake, BENCHMARK_SCORES, {"source": "s", "teacher": "t"}, count=1)
    assert shown["verdict"].to_list() == ["right", "wrong", "failed"]


def test_repeats_have_a_row_and_a_verdict_each_and_two_students_are_compared(tmp_path: Path, lake: Lake) -> None:
    evaluation = sums(tmp_path, repeats=2)

    def once(question: str, index: int) -> str | Exception:
        if index == 1 and question[0] == "3":
            return right(question, index)
        return ValueError("refused") if question[0] == "0" else "Answer: 50"

    score(lake, BENCHMARK_SCORES, evaluation, first_two_right, tmp_path, source="s", teacher="t")
    score(lake, REFERENCE_SCORES, evaluation, once, tmp_path, compared_model="other")
    one, other = (find_student(lake, name) for name in ("s/t", "other"))
    rows = [benchmark_items(lake, each.scores, **each.partition).collect() for each in (one, other)]
    assert rows[1].height == 8 and rows[1]["verdict"].to_list()[-2:] == ["wrong", "right"]
    assert rows[1]["reference"].to_list() == rows[0]["reference"].to_list() == [str(n // 2 + 1) for n in range(8)]
    compared = compare_items(*rows)
    assert compared.select("solved", "position").rows() == [
        ("first", 0),
        ("first", 1),
        ("second", 3),
        ("neither", 2),
    ]
    assert (compared["first_error"][0], compared["second_error"][0]) == (None, "refused")  # it lost, and was not wrong
    assert "refused" in PageParser(comparison_page("one", "other", compared)).text
    third = compared.row(2, named=True)
    assert (third["second_score"], third["second_answer"]) == (0.5, "Answer: 4") and "77" in third["first_answer"]


def test_pages_escape_answers_and_can_be_filtered_without_a_network(tmp_path: Path, lake: Lake) -> None:
    for teacher, reply in (("t", right), ("u", first_two_right)):
        score(lake, BENCHMARK_SCORES, sums(tmp_path), reply, tmp_path, source="s", teacher=teacher)
    rows = [benchmark_items(lake, BENCHMARK_SCORES, source="s", teacher=t).collect() for t in "tu"]
    for made, sections in (
        (items_page("s/u", rows[1].head(3), 4), 3),
        (comparison_page("s/t", "s/u", compare_items(*rows)), 4),
    ):
        read = PageParser(made)
        assert read.tags.count("section") == sections and read.tags.count("script") == 1
        assert EVIL in read.text and EVIL not in made
        assert read.loads == [] and read.handlers == []
        assert {value for name, value in read.attributes if name == "data-benchmark"} == {"sums"}
    short = PageParser(comparison_page("s/t", "s/u", compare_items(*rows), 1))
    assert "2 solved by s/t alone" in short.text and short.tags.count("section") == 1
    assert "The page has the first 3 of 4 answers." in items_page("s/u", rows[1].head(3), 4)


def test_scores_of_earlier_versions_have_a_verdict_and_say_what_to_do(tmp_path: Path, lake: Lake) -> None:
    rows = score(lake, BENCHMARK_SCORES, sums(tmp_path), right, tmp_path, source="s", teacher="t")
    old = rows.with_columns(pl.lit(None, dtype=pl.String).alias(name) for name in ("reference", "model", "samples"))
    lake.replace(BENCHMARK_SCORES, old, source="s", teacher="t")
    found = benchmark_items(lake, BENCHMARK_SCORES, source="s", teacher="t").collect()
    assert found["verdict"].to_list() == ["right"] * 4 and found["completion_id"].null_count() == 4
    assert "Materialize the scores again" in PageParser(items_page("s/t", found, 4)).text
    assert scores_version(old) == scores_version(rows)  # so nothing downstream moves for them


def test_a_name_that_is_not_scored_says_which_are(tmp_path: Path, lake: Lake) -> None:
    with pytest.raises(StudentNotFound, match="nothing yet: materialize benchmark_scores"):
        find_student(lake, "s/t")
    score(lake, BENCHMARK_SCORES, sums(tmp_path), right, tmp_path, source="s", teacher="t")
    with pytest.raises(StudentNotFound, match="no scores of 's/x'; there are scores of s/t"):
        find_student(lake, "s/x")


def test_an_answer_leads_to_the_item_that_it_answers(folder: Path) -> None:
    lake = Lake(folder / "lake")
    score(lake, BENCHMARK_SCORES, sums(folder), right, folder, source="sums", teacher="slow")
    last = benchmark_items(lake, BENCHMARK_SCORES, source="sums", teacher="slow").collect()["completion_id"][3]
    shown = run("trace", last)
    assert "student sums/slow; benchmark sums" in shown.output and "verdict right; extracted 4" in shown.output


def test_the_commands_print_lines_json_and_pages(folder: Path) -> None:
    lake = Lake(folder / "lake")
    for teacher, reply in (("slow", right), ("quick", first_two_right)):
        score(lake, BENCHMARK_SCORES, sums(folder), reply, folder, source="sums", teacher=teacher)
    shown = run("items", "sums/quick", "--wrong")
    assert shown.exit_code == 0 and "2 of 2 answers of sums/quick: 2 wrong" in shown.output
    lines = [json.loads(line) for line in run("items", "sums|slow", "--json", "--limit", "3").output.splitlines()]
    assert [line["verdict"] for line in lines] == ["right"] * 3
    compared = run("compare", "sums/slow", "sums/quick")
    assert "4 items: 2 by sums/slow alone, 0 by sums/quick alone, 2 by both alike" in compared.output
    assert "sums: sums/slow minus sums/quick is +50.0% +- 24.9 on 4 items, " in compared.output
    assert "95% from +0.0% to +100.0%, p = 0.12" in compared.output
    page = folder / "page.html"
    assert run("compare", "sums/slow", "sums/quick", "--html", str(page)).output == f"wrote {page}\n"
    assert PageParser(page.read_text()).tags.count("section") == 4
    refused = run("items", "sums/slow", "--benchmark", "none")
    assert refused.exit_code == 1 and "it has scores on sums" in refused.output
    refused = run("items", "sums/slow", "--html", str(folder / "no" / "page.html"))
    assert refused.exit_code == 1 and "cannot be written" in refused.output
