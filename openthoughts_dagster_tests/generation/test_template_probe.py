"""A chat template that never ends or grows without bounds is refused before it runs in our processes."""

import shutil
import time
from pathlib import Path

import pytest

from openthoughts_dagster.generation import template_probe
from openthoughts_dagster.generation.engine import EngineError
from openthoughts_dagster.generation.model import locate
from openthoughts_dagster.generation.template_probe import check_chat_template
from openthoughts_dagster.recipe import ModelReference

_LOOP = "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}"


def test_a_folder_with_an_endless_template_is_refused_with_its_file(untrained_model: Path, tmp_path: Path) -> None:
    folder = tmp_path / "endless"
    shutil.copytree(untrained_model, folder)
    (folder / "chat_template.jinja").write_text(
        "{% set grown = namespace(text='a' * 999) %}{% for n in range(60) %}"
        "{% set grown.text = grown.text ~ grown.text %}{% endfor %}{{ grown.text }}"
    )
    model = locate(ModelReference(name="t", model=str(folder), engine="transformers"), Path())
    with pytest.raises(
        EngineError, match=rf"{folder}/chat_template.jinja: the chat template takes more than 1,024 MiB"
    ):
        model.render([{"role": "user", "content": "2 + 2?"}])


@pytest.mark.parametrize(
    ("template", "says"),
    [
        (_LOOP, "does not end within 1 s"),
        ("{% for a in range(9999) %}{% for b in range(999) %}{{ b }}{% endfor %}{% endfor %}", "more than 1,048,576"),
        ("{{ 'a' * 10 ** 12 }}", "takes more than 1,024 MiB"),
        pytest.param("{{ 9 ** (9 ** 9) }}", "does not end within 1 s", marks=pytest.mark.faults),
        pytest.param(
            "{% if messages|length > 2 %}" + _LOOP + "{% endif %}", "does not end within 1 s", marks=pytest.mark.faults
        ),
    ],
    ids=["endless", "long", "large", "power", "only in a conversation"],
)
def test_limits_of_a_template(monkeypatch: pytest.MonkeyPatch, template: str, says: str) -> None:
    monkeypatch.setattr(template_probe, "SECONDS", 1)
    start = time.monotonic()
    with pytest.raises(EngineError, match=f"^models/m/chat_template.jinja: the chat template .*{says}"):
        check_chat_template(template, "models/m/chat_template.jinja")
    assert time.monotonic() - start < 10


def test_templates_of_models_are_used_whatever_they_refuse() -> None:
    for template in (
        "{% generation %}{{ messages[-1].content }}{% endgeneration %}{{ strftime_now('%d') }}{{ messages | tojson }}",
        "{{ raise_exception('no system prompt') }}",
        "{% for m in messages %}{% if loop.index > 1 %}{% break %}{% endif %}{{ m['content'] }}{% endfor %}",
        "{% this is no template",
    ):
        check_chat_template(template, "m/chat_template.jinja")
