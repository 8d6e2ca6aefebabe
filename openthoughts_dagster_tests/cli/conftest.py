"""A deployment of a few questions, and the commands over it."""

from pathlib import Path
from typing import Any

import polars as pl
import pytest
import yaml
from click.testing import CliRunner, Result

from openthoughts_dagster.cli import main
from openthoughts_dagster.lake import DEDUPED_QUESTIONS, Lake
from openthoughts_dagster_tests.e2e.small_recipe import served_recipe

QUESTIONS = 10


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A deployment whose source `sums` has curated questions, and whose teacher was never asked."""
    recipe = served_recipe(
        tmp_path / "recipe", "http://127.0.0.1:9/v1", price={"completion_million": 2.0}, sampling={"max_tokens": 1000}
    )
    (tmp_path / "dagster").mkdir()
    for name, value in {
        "OPENTHOUGHTS_RECIPE": str(recipe),
        "OPENTHOUGHTS_DATA": str(tmp_path),
        "OPENTHOUGHTS_LANDING": str(tmp_path / "landing"),
        "DAGSTER_HOME": str(tmp_path / "dagster"),
    }.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("OPENTHOUGHTS_UI", raising=False)
    rows = [
        {
            "source": "sums",
            "question_id": str(number),
            "domain": "math",
            "question": f"{number}+1?",
            "reference_answer": None,
            "licence": "MIT",
            "origin": "{}",
            "metadata": "{}",
            "scores": "{}",
        }
        for number in range(QUESTIONS)
    ]
    frame = pl.DataFrame(rows, schema=DEDUPED_QUESTIONS.schema)
    Lake(tmp_path / "lake").replace(DEDUPED_QUESTIONS, frame, source="sums")
    return tmp_path


def change_teacher(folder: Path, **settings: Any) -> None:
    """Give the recipe's teacher other settings."""
    path = folder / "recipe" / "recipe.yaml"
    recipe = yaml.safe_load(path.read_text())
    recipe["teachers"][0] |= settings
    path.write_text(yaml.safe_dump(recipe))


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, list(arguments))
