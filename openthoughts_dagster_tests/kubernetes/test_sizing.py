"""The sizing table is what the formula gives, and the formula is not far from what the paper took."""

import runpy
from pathlib import Path

import pytest

pytestmark = pytest.mark.kubernetes
ROOT = Path(__file__).parents[2]


def test_the_table_in_the_docs_is_computed() -> None:
    sizing = runpy.run_path(str(ROOT / "benchmarks" / "sizing.py"))
    text = (ROOT / "docs" / "kubernetes.md").read_text()
    assert sizing["table"]() in text
    assert sizing["check"]() in " ".join(text.split())  # lines of docs are wrapped


def test_the_formula_is_within_a_third_of_the_papers_hours() -> None:
    sizing = runpy.run_path(str(ROOT / "benchmarks" / "sizing.py"))
    hours = sizing["hours"](*sizing["PAPER"], *sizing["WORK"]["OpenThoughts3-1.2M"])
    assert hours == pytest.approx(sizing["PAPER_HOURS"], rel=1 / 3)


def test_more_room_for_answers_makes_an_accelerator_faster() -> None:
    sizing = runpy.run_path(str(ROOT / "benchmarks" / "sizing.py"))
    two, eight = (next(shape for shape in sizing["SHAPES"] if shape[1].name == name) for name in ("h100x2", "h100x8"))
    assert sizing["speed"](*eight, 16_000) / 8 > sizing["speed"](*two, 16_000) / 2
