"""What came of a recipe, on one page that needs no network and leads to the UI."""

from datetime import UTC, datetime
from pathlib import Path

import pytest
import yaml

from openthoughts_dagster.inspection.report import report_page, report_sections
from openthoughts_dagster.lake import RELEASE_FUNNEL, RELEASE_VERSIONS, TEACHER_RANKING, Lake
from openthoughts_dagster.recipe import load_recipe
from openthoughts_dagster_tests.cli.conftest import run
from openthoughts_dagster_tests.inspection.house import SOURCE, TEACHER, House, make_house
from openthoughts_dagster_tests.pages.parsing import PageParser

EVIL = "<script>alert(1)</script>"
STUDY = {"name": "s", "question": EVIL, "arms": {"a": {"questions": 2}, "b": {"questions": 3}}, "seeds": 2}
RELEASE = {"name": "r", "title": "t", "licence": "MIT", "sources": [SOURCE]}


@pytest.fixture
def filled(tmp_path: Path) -> House:
    filled = make_house(tmp_path, studies=[STUDY], release=RELEASE, description=EVIL)
    filled.write(
        TEACHER_RANKING, {"rank": 1, "teacher": TEACHER, "domain": "all", "score": 0.5, "best": True, "items": 4}
    )
    made = {
        "teacher": TEACHER,
        "version": "abc",
        "made_at": datetime(2026, 1, 1, tzinfo=UTC),
        "rows": 9,
        "questions": 5,
    }
    filled.write(RELEASE_VERSIONS, made, teacher=TEACHER)
    steps = [{"teacher": TEACHER, "order": n, "step": step, "source": SOURCE, "questions": 5 - n} for n, step in
             enumerate(("curated", "across sources"))]  # fmt: skip
    filled.write(RELEASE_FUNNEL, *steps, teacher=TEACHER)
    return filled


def test_every_section_has_what_the_tables_have(filled: House) -> None:
    sections = {section.title: section.rows for section in report_sections(filled.lake, filled.recipe)}
    [funnel] = sections["From questions to students"]
    assert funnel == {
        "source": SOURCE,
        "read": "6",
        "scored": "6",
        "selected and clean": "5",
        "answers": "9",
        "students": "1",
    }
    assert {row["reason"] for row in sections["Rejected questions"]} == {
        "below_cut",
        "duplicate_fuzzy",
        "benchmark_similarity",
    }
    answers = next(row for row in sections["What it cost"] if row["teacher"] == TEACHER)
    assert (answers["model"], answers["completions"], answers["tokens"]) == (TEACHER, "10", "200")
    assert sections["Which teacher makes the better student?"][0]["best"] == "yes"
    assert sections["Which source makes the better student?"] == []
    assert sections["Teachers"][0]["own score"] == "not scored"
    assert sections["Studies"][0]["decision"] == "no decision yet"
    assert sections["Versions of the release"][0]["rows"] == "9"
    assert [row["questions"] for row in sections["How the release was chosen"]] == ["5", "4"]


def test_the_page_escapes_everything_loads_nothing_and_links_into_the_ui(filled: House) -> None:
    read = PageParser(report_page(filled.lake, filled.recipe, "https://ui.example/"))
    assert "script" not in read.tags and read.loads == [] and read.handlers == []
    assert read.text.count(EVIL) == 2
    links = {value for name, value in read.attributes if name == "href" and not value.startswith("#")}
    assert {"https://ui.example/assets/teacher_ranking", "https://ui.example/assets/reasoning_dataset"} <= links


def test_a_lake_without_anything_has_a_report_too(filled: House, tmp_path: Path) -> None:
    assert "nothing yet" in PageParser(report_page(Lake(tmp_path / "none"), filled.recipe, "http://ui")).text


def test_the_command_prints_it_or_writes_a_page(filled: House, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENTHOUGHTS_RECIPE", str(tmp_path / "recipe"))
    monkeypatch.setenv("OPENTHOUGHTS_DATA", str(tmp_path))
    monkeypatch.setenv("OPENTHOUGHTS_UI", "http://ui:1")
    printed = run("report")
    assert printed.exit_code == 0 and "WHAT IT COST" in printed.output and "0.00 USD" in printed.output
    assert run("report", "--html", str(tmp_path / "r.html")).exit_code == 0
    assert 'href="http://ui:1/assets/raw_sources"' in (tmp_path / "r.html").read_text()
    path = tmp_path / "recipe" / "recipe.yaml"
    path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text()) | {"release": None, "studies": []}))
    assert load_recipe(str(path), {"OPENTHOUGHTS_DATA": str(tmp_path)}).release is None
    assert "RELEASE" not in run("report").output
