"""A chat template that writes today's date does not make every key new each day."""

import shutil
from pathlib import Path

import pytest

from openthoughts_dagster.generation.engine import EngineError
from openthoughts_dagster.generation.model import Model, locate
from openthoughts_dagster.generation.rendering import render_all
from openthoughts_dagster.recipe import ModelReference

DATED = (
    "{% if strftime_now is defined %}Today: {{ strftime_now('%d %b %Y') }} | {% endif %}{{ messages[-1]['content'] }}"
)


@pytest.fixture
def dated(untrained_model: Path, tmp_path: Path) -> Path:
    folder = tmp_path / "dated"
    shutil.copytree(untrained_model, folder)
    (folder / "chat_template.jinja").write_text(DATED)
    return folder


def _model(folder: Path, **settings: str) -> Model:
    return locate(ModelReference(name="t", model=str(folder), engine="transformers", **settings), Path())


def test_the_recipes_date_is_what_the_template_writes(dated: Path) -> None:
    assert render_all(_model(dated, template_date="2026-07-04"), ["2 + 2?"]) == ["Today: 04 Jul 2026 | 2 + 2?"]


def test_a_template_with_the_clocks_date_is_refused_with_the_remedy(dated: Path) -> None:
    with pytest.raises(EngineError, match=r"t: the chat template .* paid for again tomorrow. Set template_date"):
        render_all(_model(dated), ["2 + 2?"])


def test_other_templates_need_no_date(untrained_model: Path) -> None:
    assert "2 + 2?" in render_all(_model(untrained_model), ["2 + 2?"])[0]
