"""Settings of speed and memory change no student; adapters are a student of their own; people see what it answers."""

import json
import shutil
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from openthoughts_dagster.generation.engine import EngineError
from openthoughts_dagster.generation.model import locate
from openthoughts_dagster.lake import folder_hash
from openthoughts_dagster.recipe import Lora, Student
from openthoughts_dagster.training import SourceRows, Trained, TrainingError, kernels, shown_answers, train_student
from openthoughts_dagster.training.prepare import prepare_rows
from openthoughts_dagster.training.rows import write_rows
from openthoughts_dagster.training.sft import student_fingerprint
from openthoughts_dagster_tests.conftest import skip_without
from openthoughts_dagster_tests.training.tiny_training import quick_training, students_in, sums

ROWS = sums(32, lengths=5)


def train(model: Path, folder: Path, lines: list[str] | None = None, **settings: Any) -> Trained:
    training = quick_training(epochs=None, steps=2, **settings)
    student = Student(name="student", model=str(model), training=training, rows=32)
    log = print if lines is None else lines.append
    sources = [SourceRows("sums|<b>", "MIT", 32)]
    return train_student(student, locate(student, Path()), ROWS, students_in(folder), log, 1, sources=sources)


def weights(path: str | Path) -> dict[str, Any]:
    from safetensors.torch import load_file

    return dict(load_file(f"{path}/model.safetensors"))


def test_adapters_are_merged_into_a_whole_model_of_another_fingerprint(untrained_model: Path, tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM

    skip_without("peft", kernels.find_spec("peft") is not None, "pip install peft==0.21.2")
    adapted = train(untrained_model, tmp_path, lora=Lora(rank=4, alpha=8), gradient_checkpointing=True)
    whole = train(untrained_model, tmp_path)

    assert adapted.fingerprint != whole.fingerprint
    base, student = weights(untrained_model), weights(adapted.path)
    assert base.keys() == student.keys() and not list(Path(adapted.path).glob("adapter*"))
    changed = {name for name, weight in student.items() if not bool((weight == base[name]).all())}
    assert changed and all("_proj" in name for name in changed)
    model = AutoModelForCausalLM.from_pretrained(adapted.path)
    assert model.num_parameters() == AutoModelForCausalLM.from_pretrained(untrained_model).num_parameters()


def test_adapters_without_their_library_are_an_error_before_training(
    untrained_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kernels, "find_spec", lambda name: None)
    with pytest.raises(TrainingError, match=r"training.lora needs the package peft.*pip install peft"):
        train(untrained_model, tmp_path, lora=Lora())


def test_how_attention_is_computed_is_reported_and_no_part_of_the_fingerprint(
    untrained_model: Path, tmp_path: Path
) -> None:
    lines: list[str] = []
    savers = {"liger": True, "activation_offloading": True}
    chosen = train(untrained_model, tmp_path / "chosen", lines, **savers)
    named = train(untrained_model, tmp_path / "named", attention="eager")

    assert (chosen.attention, named.attention) == ("sdpa", "eager") and chosen.fingerprint == named.fingerprint
    assert "student: attention is computed by sdpa" in lines
    assert "student: on a CPU there is no effect of liger and activation_offloading" in lines
    theirs = weights(named.path)
    assert max(float((one - theirs[name]).abs().max()) for name, one in weights(chosen.path).items()) < 1e-5
    with pytest.raises(TrainingError, match=r"training\.attention is flash_attention_2, which cannot be used"):
        train(untrained_model, tmp_path / "flash", attention="flash_attention_2", bf16=True)


@pytest.mark.parametrize(
    ("installed", "capability", "chosen"),
    [
        ((2, 3), (9, 0), "flash_attention_3"),
        ((2, 3), (8, 0), "flash_attention_2"),
        ((2,), (7, 5), None),
        ((), (9, 0), None),
    ],
)
def test_flash_attention_is_chosen_where_package_and_accelerator_have_it(
    monkeypatch: pytest.MonkeyPatch, installed: tuple[int, ...], capability: tuple[int, int], chosen: str | None
) -> None:
    import torch
    import transformers.utils

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: capability)
    for version in (2, 3):
        there = version in installed
        monkeypatch.setattr(transformers.utils, f"is_flash_attn_{version}_available", lambda there=there: there)
    assert kernels.choose_attention(quick_training(bf16=True)) == chosen
    assert kernels.choose_attention(quick_training(bf16=False)) is None


def test_people_see_what_the_student_answers_before_and_after_and_where_its_rows_are_from(
    untrained_model: Path, tmp_path: Path
) -> None:
    trained = train(untrained_model, tmp_path, shown_answers=2, learning_rate=1e-2)

    assert [answer["question"] for answer in trained.answers] == ["What is 0 + 1?", "What is 1 + 1?"]
    assert all(answer["before"] != answer["after"] for answer in trained.answers)
    folder = Path(trained.path)
    assert json.loads((folder / "training.json").read_text())["answers"] == trained.answers
    card = (folder / "README.md").read_text()
    assert "| sums&#124;&#60;b&#62; | MIT | 32 |" in card and "sdpa" not in card
    hashed = folder_hash(folder, ignore=("scores.md",))
    (folder / "scores.md").write_text("# Scores")
    located = locate(Student(name="student", model=trained.path, preset="tiny"), Path())
    (folder / "scores.md").unlink()
    again = locate(Student(name="student", model=trained.path, preset="tiny"), Path())
    assert located.identity == again.identity and folder_hash(folder, ignore=("scores.md",)) == hashed


def test_answers_that_cannot_be_shown_cost_no_training(
    untrained_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: Any) -> None:
        raise MemoryError("too little memory")

    monkeypatch.setattr(shown_answers, "answer_greedily", fails)
    lines: list[str] = []
    trained = train(untrained_model, tmp_path / "students", lines, shown_answers=1)
    assert trained.answers == [] and (Path(trained.path) / "README.md").is_file()
    assert any("answers before and after cannot be shown: too little memory" in line for line in lines)


def test_rows_have_the_date_of_the_recipe_where_the_chat_template_writes_one(
    untrained_model: Path, tmp_path: Path
) -> None:
    dated = tmp_path / "dated"
    shutil.copytree(untrained_model, dated)
    template = dated / "chat_template.jinja"
    template.write_text("{{ strftime_now('%d %Y') }} " + template.read_text())
    with pytest.raises(EngineError, match="Set template_date"):
        train(dated, tmp_path / "students")
    write_rows(ROWS, tmp_path / "rows.parquet")
    fingerprints = set()
    for day in (date(2026, 7, 4), date(2026, 7, 5)):
        student = Student(name="s", model=str(dated), training=quick_training(), template_date=day)
        base = locate(student, Path())
        prepared = prepare_rows(student, base, tmp_path / "rows.parquet", tmp_path / "tokens", print)
        text = base.tokenizer().decode(prepared.tokens.row(0)[0])
        assert text.startswith(f"{day:%d %Y} <|user|>What is 0 + 1?")
        fingerprints.add(student_fingerprint(student, base, ROWS))
    assert len(fingerprints) == 2
