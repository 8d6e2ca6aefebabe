"""A question, an answer or a row of the release is followed both ways: to where it is from, and to the students."""

import json
from pathlib import Path

import polars as pl
import pytest

from openthoughts_dagster.inspection.benchmark_origin import trace_item
from openthoughts_dagster.inspection.judge_replies import judge_replies
from openthoughts_dagster.inspection.trace import NothingTraced, trace, trace_release_row
from openthoughts_dagster.inspection.trace_pages import item_page, item_text, trace_page, trace_text
from openthoughts_dagster.lake import (
    COMPLETIONS,
    DEDUPED_QUESTIONS,
    RAW_SOURCES,
    SCORED_QUESTIONS,
    TEACHER_ANSWERS,
)
from openthoughts_dagster.storage import Folders
from openthoughts_dagster_tests.cli.conftest import run
from openthoughts_dagster_tests.evaluation.helpers import json_lines
from openthoughts_dagster_tests.inspection.house import IDS, LEAKED, QUESTIONS, SOURCE, TEACHER, House, make_house
from openthoughts_dagster_tests.pages.parsing import PageParser


@pytest.fixture
def filled(tmp_path: Path) -> House:
    benchmark = json_lines(tmp_path / "b.jsonl", [{"question": text, "answer": 1} for text in (QUESTIONS[2], "Why?")])
    return make_house(tmp_path, evaluation={"benchmarks": [{"name": "b", "kind": "file", "path": str(benchmark)}]})


def test_a_question_is_followed_from_its_file_to_the_students_that_learned_it(filled: House) -> None:
    asked_before = filled.lake.scan(COMPLETIONS).collect().height
    traced = trace(
        filled.lake, filled.recipe, IDS[1], lambda row: judge_replies(filled.lake, filled.recipe, Folders(), row)
    )
    [question] = traced["questions"]
    assert question["origins"][0]["origin"] == {"file": "sums.jsonl", "line": 1}
    assert question["scores"][0] | {"source": ""} == {
        "source": "",
        "score": "difficulty",
        "value": 1.0,
        "place": question["scores"][0]["place"],
    }
    assert question["scores"][0]["place"].endswith("of 6; the recipe takes 5")
    [reply] = question["replies"]
    assert (reply["reply"], reply["judge"], reply["cost"]) == ('{"difficulty": 1}', "judge", 20e-6)
    assert [row["decision"] for row in question["decisions"]] == ["kept"]
    assert [row["relation"] for row in question["duplicates"]] == ["repeats it"]
    assert [(row["of"], row["sample_index"]) for row in question["answers"]] == [("sums/slow", 0), ("sums/slow", 1)]
    assert question["answers"][0]["cost"] == 40e-6 and question["answers"][0]["reasoning"] == "hm"
    [student] = question["students"]
    assert student["fingerprint"] == "f" * 32 and student["scores"] == {"b": 0.5}
    assert [row["position"] for row in question["release"]] == [0, 1]
    assert filled.lake.scan(COMPLETIONS).collect().height == asked_before  # looking asks no model


def test_a_question_that_went_says_why_and_an_answer_that_was_dropped_too(filled: House) -> None:
    [question] = trace(filled.lake, filled.recipe, IDS[0])["questions"]
    assert question["decisions"][0]["decision"] == "below_cut" and question["answers"] == []
    [question] = trace(filled.lake, filled.recipe, IDS[5])["questions"]
    assert [(row["decision"], row["evidence"]) for row in question["answers"]] == [("kept", None), ("language", "zh")]
    assert question["answers"][1]["answer"]


def test_an_answer_and_a_row_of_the_release_lead_to_their_question(filled: House) -> None:
    row = filled.lake.scan(TEACHER_ANSWERS).collect().row(3, named=True)
    traced = trace(filled.lake, filled.recipe, row["completion_id"])
    assert traced["completion"]["asked_as"] == TEACHER
    assert traced["questions"][0]["question"]["question_id"] == row["question_id"]
    released = trace_release_row(filled.lake, filled.recipe, TEACHER, 3)
    assert released["completion"]["completion_id"] == released["release_row"]["completion_id"]
    id_ = released["release_row"]["question_id"]
    for table in (RAW_SOURCES, SCORED_QUESTIONS, DEDUPED_QUESTIONS):  # the source was read again without it
        rest = filled.lake.scan(table).filter(pl.col("question_id") != id_).collect()
        filled.lake.replace(table, rest, source=SOURCE)
    [alone] = trace(filled.lake, filled.recipe, id_)["questions"]
    assert (alone["question"]["question"], alone["origins"]) == (None, []) and alone["release"] and alone["answers"]
    assert f"question {id_}" in trace_text(trace_release_row(filled.lake, filled.recipe, TEACHER, 3))
    with pytest.raises(NothingTraced, match="no row 99 of a release by 'slow'; there are releases by slow"):
        trace_release_row(filled.lake, filled.recipe, TEACHER, 99)
    with pytest.raises(NothingTraced, match="no question and no completion has the id"):
        trace(filled.lake, filled.recipe, "nothing")


def test_a_benchmarks_item_leads_to_the_training_questions_that_are_like_it(filled: House) -> None:
    traced = trace_item(filled.lake, filled.recipe, "b", "0", count=2)
    first = traced["training_questions"][0]
    assert (first["question"], first["similarity"]) == (QUESTIONS[2], 100.0)
    assert first["shared"] == QUESTIONS[2].casefold() and first["training_sets"] == ["sums|slow"]
    assert [row["question"] for row in traced["dropped_as_leaks"]] == [LEAKED]
    by_id = trace_item(filled.lake, filled.recipe, "b", IDS[2][:12], count=2)
    assert by_id["question"] == traced["question"]
    with pytest.raises(NothingTraced, match="no benchmark 'c'; it has b"):
        trace_item(filled.lake, filled.recipe, "c", "0")
    with pytest.raises(NothingTraced, match="b has no item 'ffff'"):
        trace_item(filled.lake, filled.recipe, "b", "ffff")


def test_traces_are_shown_as_text_json_and_one_page(
    filled: House, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENTHOUGHTS_RECIPE", str(tmp_path / "recipe"))
    monkeypatch.setenv("OPENTHOUGHTS_DATA", str(tmp_path))
    text = run("trace", IDS[1]).output
    assert "place" in text and "sums/slow" in text and "training set sums|slow" in text and "b 50.0%" in text
    assert json.loads(run("trace", TEACHER, "0", "--json").output)["release_row"]["position"] == 0
    assert run("trace", "--benchmark", "b", "--item", "1", "--html", str(tmp_path / "p.html")).exit_code == 0
    assert PageParser((tmp_path / "p.html").read_text()).loads == []
    refused = run("trace", "--benchmark", "b")
    assert refused.exit_code == 2 and "--benchmark with --item" in refused.output


def test_pages_of_traces_escape_what_models_wrote(filled: House) -> None:
    evil = "<script>alert(1)</script>"
    traced = trace(filled.lake, filled.recipe, IDS[1])
    traced["questions"][0]["question"]["question"] = evil
    traced["questions"][0]["answers"][0] |= {"answer": evil, "reasoning": evil}
    read = PageParser(trace_page(traced))
    assert "script" not in read.tags and read.text.count(evil) == 3
    assert "\x1b" not in trace_text(traced | {"completion": {"completion_id": "c", "answer": "\x1b[31m"}})
    like = trace_item(filled.lake, filled.recipe, "b", "0") | {"question": evil}
    assert "script" not in PageParser(item_page(like)).tags and evil in item_text(like)
