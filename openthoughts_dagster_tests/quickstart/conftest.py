"""The quickstart's models after a handful of steps: real checkpoints that know nothing yet."""

from pathlib import Path

import pytest

from openthoughts_dagster.quickstart import Course, TinyModel, build_tiny_models

SHORT = {name: Course(steps=4, learning_rate=1e-3, batch=8) for name in ("student", "worked", "direct", "judge")}


@pytest.fixture(scope="session")
def barely_trained(tmp_path_factory: pytest.TempPathFactory) -> dict[str, TinyModel]:
    folder: Path = tmp_path_factory.mktemp("tiny_models")
    return build_tiny_models(folder, print, courses=SHORT, exam=4)
