"""Settings of engines and guards that cannot be meant are said before anything runs."""

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from openthoughts_dagster.recipe import ModelReference, RecipeError, load_recipe


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"sampling": {"repetition": {"shortest": 9, "longest": 3}}}, "must be at least shortest (9), got 3"),
        ({"sampling": {"thinking_budget": 0}}, "greater than 0"),
        ({"retry": {"first_wait": 60}}, "must be at least first_wait (60), got 30"),
        (
            {"engine": "openai", "vllm": {"quantization": "fp8"}},
            "is for engine vllm, and this model's engine is 'openai'",
        ),
        ({"engine": "vllm", "tokenizer": "./t"}, "is for engine openai, and this model's engine is 'vllm'"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(settings: dict[str, Any], says: str) -> None:
    with pytest.raises(ValidationError) as caught:
        ModelReference.model_validate({"name": "m", "model": "m", **settings})
    assert says in str(caught.value)


def test_a_password_in_an_address_is_refused_and_not_repeated(tmp_path: Path) -> None:
    teacher = "{name: t, model: m, engine: openai, base_url: 'https://me:sk-1@host/v1'}"
    (tmp_path / "recipe.yaml").write_text(f"teachers: [{teacher}]\n")

    with pytest.raises(RecipeError) as caught:
        load_recipe(str(tmp_path), {})
    assert "teachers.t.base_url: must hold no password and got one" in str(caught.value)
    assert "sk-1" not in str(caught.value)
