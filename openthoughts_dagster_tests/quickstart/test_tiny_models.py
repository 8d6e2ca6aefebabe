import ast
import json
from pathlib import Path

import pytest

from openthoughts_dagster.quickstart import COURSES, TinyModel, build_tiny_models, tiny_models
from openthoughts_dagster.quickstart.training_loop import answers
from openthoughts_dagster_tests.quickstart.conftest import SHORT


def test_every_checkpoint_folder_loads_in_transformers_and_answers_any_text(
    barely_trained: dict[str, TinyModel],
) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    assert list(barely_trained) == ["student", "worked", "direct", "judge"]
    for model in barely_trained.values():
        loaded = AutoModelForCausalLM.from_pretrained(model.path)
        tokenizer = AutoTokenizer.from_pretrained(model.path)
        assert loaded.generation_config.eos_token_id == tokenizer.eos_token_id
        assert len(answers(loaded, tokenizer, ["What is love? 💔", "", "x" * 300], max_tokens=4)) == 3


def test_a_second_build_trains_nothing(barely_trained: dict[str, TinyModel]) -> None:
    folder = barely_trained["worked"].path.parent
    weights = {model.path: (model.path / "model.safetensors").stat().st_mtime_ns for model in barely_trained.values()}
    lines: list[str] = []
    assert build_tiny_models(folder, lines.append, courses=SHORT, exam=4) == barely_trained
    assert all("complete" in line for line in lines)
    assert weights == {path: (path / "model.safetensors").stat().st_mtime_ns for path in weights}


def test_a_killed_build_leaves_nothing_that_reads_as_complete(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    course = {"worked": SHORT["worked"]}

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(tiny_models, "save_tokenizer", killed)
        with pytest.raises(KeyboardInterrupt):
            build_tiny_models(tmp_path, print, courses=course, exam=2)
    assert not (tmp_path / "worked").exists()
    built = build_tiny_models(tmp_path, print, courses=course, exam=2)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["worked"]
    assert built["worked"].losses


def test_other_settings_train_anew(tmp_path: Path) -> None:
    lines: list[str] = []
    for seed in (0, 1):
        build_tiny_models(tmp_path, lines.append, seed=seed, courses={"judge": SHORT["judge"]}, exam=2)
    assert not any("complete" in line for line in lines)
    assert json.loads((tmp_path / "judge" / "training.json").read_text())["steps"] == SHORT["judge"].steps


def test_models_of_the_shipped_settings_that_earlier_versions_made_are_kept(tmp_path: Path) -> None:
    """Whoever changes the code of the package, and not only comments, trains everybody's models again: delete this."""
    recorded = {
        "student": "58a0fa9db08356e0c1d3068e00fc5998",
        "worked": "5bbc7fff579ec16d2b1ba79156c08197",
        "direct": "e81305447fd141d03a7f88ea21933150",
        "judge": "5b485b9a6e2f6f287ffa20b205e50381",
    }
    made = {"parameters": 1, "steps": 1, "seconds": 1.0, "accuracy": 1.0, "accuracy_by_family": {}, "losses": []}
    for name, fingerprint in recorded.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "training.json").write_text(json.dumps({"fingerprint": fingerprint} | made))
    lines: list[str] = []
    assert list(build_tiny_models(tmp_path, lines.append, 0, COURSES, 100)) == list(COURSES)
    assert len(lines) == 4 and all("complete" in line for line in lines)


@pytest.mark.parametrize(
    ("other", "same"),
    [
        ('"""Other words."""\nRATE = 2  # why\ndef f(x):\n    """Says."""\n    return x', True),
        ("RATE = 2\ndef f(x):\n    return x", True),
        ("RATE = 3\ndef f(x):\n    return x", False),
        ("RATE = 2\ndef f(x):\n    'a'.strip()\n    return x", False),
        ("RATE = 2\ndef f(y):\n    return y", False),
    ],
)
def test_comments_and_docstrings_are_no_part_of_what_was_trained(other: str, same: bool) -> None:
    code = '"""A module."""\nRATE = 2\ndef f(x):\n    # one\n    """Two."""\n    return x'
    assert (tiny_models._code(ast.parse(code)) == tiny_models._code(ast.parse(other))) is same
