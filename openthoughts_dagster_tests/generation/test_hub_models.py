"""Models of the hub are found by their id and commit, whatever else their settings are."""

from pathlib import Path

import pytest

from openthoughts_dagster.generation.model import locate
from openthoughts_dagster.recipe import Student


def test_a_model_whose_settings_hold_lists_is_found(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("huggingface_hub.snapshot_download", lambda *_, **__: str(tmp_path / "a1b2c3"))
    settings = {"name": "student", "model": "org/with-lists", "preset": "micro", "training": {"report_to": ["mlflow"]}}
    assert locate(Student.model_validate(settings), tmp_path).identity.revision == "a1b2c3"
