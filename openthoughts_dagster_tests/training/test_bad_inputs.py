"""Base models, rows, disks and checkpoints that cannot be used are errors that say what to do, or are passed over."""

import errno
import json
import shutil
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from openthoughts_dagster.generation.engine import EngineError
from openthoughts_dagster.generation.model import locate
from openthoughts_dagster.recipe import Student
from openthoughts_dagster.training import Trained, TrainingError, run, sft, train_student
from openthoughts_dagster_tests.training.tiny_training import quick_training, students_in, sums

ROWS = sums(32)


def train(
    model: Path, folder: Path, rows: pl.DataFrame = ROWS, lines: list[str] | None = None, **settings: Any
) -> Trained:
    student = Student(name="student", model=str(model), training=quick_training(**settings), rows=32)
    log = print if lines is None else lines.append
    return train_student(student, locate(student, Path()), rows, students_in(folder), log, 1)


def test_a_base_model_without_a_chat_template_is_an_error_before_training(
    untrained_model: Path, tmp_path: Path
) -> None:
    bare = tmp_path / "bare"
    shutil.copytree(untrained_model, bare, ignore=shutil.ignore_patterns("chat_template*"))
    config = json.loads((bare / "tokenizer_config.json").read_text())
    config.pop("chat_template", None)
    (bare / "tokenizer_config.json").write_text(json.dumps(config))
    with pytest.raises(EngineError, match="has no chat template: use the instruction-tuned model"):
        train(bare, tmp_path / "students")


def test_a_tracker_that_is_not_installed_is_an_error_before_training(untrained_model: Path, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=r"report_to names trackio, which is not installed: pip install trackio"):
        train(untrained_model, tmp_path, report_to=["trackio"])


def test_a_student_of_a_model_that_stops_only_at_the_end_of_a_document_stops_at_the_end_of_its_turn(
    untrained_model: Path, tmp_path: Path
) -> None:
    model = tmp_path / "pretrained"
    shutil.copytree(untrained_model, model)
    ends = json.loads((model / "generation_config.json").read_text())["eos_token_id"]
    for name, value in (("config", 5), ("generation_config", 5), ("tokenizer_config", None)):
        content = json.loads((model / f"{name}.json").read_text())
        content |= {"eos_token": "<|pad|>"} if value is None else {"eos_token_id": value}
        (model / f"{name}.json").write_text(json.dumps(content))
    trained = train(model, tmp_path / "students", epochs=None, steps=1)
    stops = json.loads((Path(trained.path) / "generation_config.json").read_text())["eos_token_id"]
    assert ends in stops and len(stops) > 1


def test_answers_of_one_token_are_learned_with_their_end_also_in_bfloat16_on_a_cpu(
    untrained_model: Path, tmp_path: Path
) -> None:
    rows = pl.DataFrame({"question": [f"What is {n}?" for n in range(16)], "text": [str(n % 10) for n in range(16)]})
    trained = train(untrained_model, tmp_path, rows, epochs=1, bf16=True)
    assert (trained.rows, trained.dropped_rows, trained.steps) == (16, 0, 1)


def test_a_disk_that_is_full_at_a_checkpoint_keeps_the_last_good_one(
    untrained_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from trl import SFTTrainer

    saves = SFTTrainer._save_optimizer_and_scheduler

    def full_at_the_second(trainer: Any, folder: str) -> None:
        if trainer.state.global_step == 4:
            raise OSError(errno.ENOSPC, "No space left on device")
        saves(trainer, folder)

    with monkeypatch.context() as patch, pytest.raises(TrainingError, match=r"of step 4 .* GiB are free: .*No space"):
        patch.setattr(SFTTrainer, "_save_optimizer_and_scheduler", full_at_the_second)
        train(untrained_model, tmp_path, save_steps=2, epochs=4)
    lines: list[str] = []
    assert train(untrained_model, tmp_path, lines=lines, save_steps=2, epochs=4).steps == 8
    assert "student: going on from checkpoint-2" in lines
    assert any(line.startswith("student: checkpoint-4 is passed over") for line in lines)


def test_a_checkpoint_of_another_version_is_passed_over_for_the_one_before(
    untrained_model: Path, tmp_path: Path
) -> None:
    def stopped(*arguments: Any) -> None:
        run.run_training(*arguments)
        raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(sft, "run_training", stopped)
        train(untrained_model, tmp_path, save_steps=1)
    (state,) = tmp_path.glob("*.partial/checkpoint-4/trainer_state.json")
    state.write_text(json.dumps({**json.loads(state.read_text()), "a_field_of_tomorrow": 1}))
    lines: list[str] = []
    assert train(untrained_model, tmp_path, lines=lines, save_steps=1).steps == 4
    assert [line for line in lines if "going on" in line] == [
        "student: going on from checkpoint-4",
        "student: going on from checkpoint-3",
    ]
    assert any("checkpoint-4 cannot be loaded, as if another version" in line for line in lines)
