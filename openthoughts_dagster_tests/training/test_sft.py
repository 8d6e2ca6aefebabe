"""Students are trained once, resumed where they stopped, and learn exactly what the teacher wrote."""

from pathlib import Path
from typing import Any

import polars as pl
import pytest

from openthoughts_dagster.generation.model import Model, locate
from openthoughts_dagster.recipe import Student
from openthoughts_dagster.training import TrainingError, run, sft, train_student
from openthoughts_dagster.training.batches import split_batch
from openthoughts_dagster.training.prepare import prepare_rows
from openthoughts_dagster.training.rows import write_rows
from openthoughts_dagster.training.trainer import build_trainer
from openthoughts_dagster_tests.training.tiny_training import quick_training, students_in, sums

ROWS = sums(64)
TRAINING = quick_training(epochs=4)


@pytest.fixture
def student(untrained_model: Path) -> Student:
    return Student(name="student", model=str(untrained_model), training=TRAINING, rows=64)


@pytest.fixture
def base(student: Student) -> Model:
    return locate(student, Path())


def test_the_loss_falls_and_the_same_training_is_not_done_twice(student: Student, base: Model, tmp_path: Path) -> None:
    first = train_student(student, base, ROWS, students_in(tmp_path), print)
    again = train_student(student, base, ROWS, students_in(tmp_path), print)

    assert first.losses[-1][1] < first.losses[0][1]
    assert (first.reused, again.reused) == (False, True)
    card = (Path(first.path) / "README.md").read_text()
    assert "Rows: 64, of which 0 without their end" in card and "| learning_rate | 0.002 |" in card
    assert str(tmp_path) not in card and base.address not in card
    assert again.path == first.path and (first.rows, first.steps) == (64, 16)
    assert [path.name for path in tmp_path.iterdir()] == [first.fingerprint]


def test_other_rows_or_settings_are_another_student(student: Student, base: Model, tmp_path: Path) -> None:
    short = TRAINING.model_copy(update={"epochs": 1.0})
    students = [
        train_student(each, base, rows, students_in(tmp_path), print).fingerprint
        for each, rows in (
            (student.model_copy(update={"training": short}), ROWS),
            (student.model_copy(update={"training": short, "seed": 1}), ROWS),
            (student.model_copy(update={"training": short}), ROWS.head(32)),
        )
    ]
    assert len(set(students)) == 3


@pytest.mark.parametrize("packing", [False, True])
def test_an_interrupted_training_goes_on_to_the_same_student(
    student: Student, base: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, packing: bool
) -> None:
    settings = quick_training(epochs=4, packing=packing, global_batch_size=4, per_device_batch_size=2)
    student = student.model_copy(update={"training": settings if packing else TRAINING})
    whole = train_student(student, base, ROWS, students_in(tmp_path / "whole"), print)
    made = build_trainer

    def interrupted(*arguments: Any) -> Any:
        trainer = made(*arguments)
        step = trainer.training_step

        def fails_at_the_eleventh(*inputs: Any, **more: Any) -> Any:
            if trainer.state.global_step == 10:
                raise KeyboardInterrupt
            return step(*inputs, **more)

        trainer.training_step = fails_at_the_eleventh
        return trainer

    monkeypatch.setattr(run, "build_trainer", interrupted)
    with pytest.raises(KeyboardInterrupt):
        train_student(student, base, ROWS, students_in(tmp_path / "part"), print)
    assert [path.suffix for path in (tmp_path / "part").iterdir()] == [".partial"]
    monkeypatch.setattr(run, "build_trainer", made)
    lines: list[str] = []
    resumed = train_student(student, base, ROWS, students_in(tmp_path / "part"), lines.append)

    assert "student: going on from checkpoint-8" in lines
    assert resumed.steps == whole.steps > 10
    weights = [(Path(trained.path) / "model.safetensors").read_bytes() for trained in (whole, resumed)]
    assert weights[0] == weights[1]


def test_a_checkpoint_that_is_damaged_is_passed_over_for_the_one_before(
    student: Student, base: Model, tmp_path: Path
) -> None:
    def stopped(*arguments: Any) -> None:
        run.run_training(*arguments)
        raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(sft, "run_training", stopped)
        train_student(student, base, ROWS, students_in(tmp_path), print)
    (partial,) = tmp_path.glob("*.partial")
    optimizer = partial / "checkpoint-16" / "optimizer.pt"
    content = optimizer.read_bytes()
    for damage in (content[: len(content) // 2], content[:5000] + b"damaged" + content[5007:]):
        optimizer.write_bytes(damage)
        lines: list[str] = []
        assert run.last_checkpoint(partial, log=lines.append) == partial / "checkpoint-12"
        assert "student: checkpoint-16 is passed over: " in lines[0]
    optimizer.write_bytes(content)
    assert run.last_checkpoint(partial) == partial / "checkpoint-16"
    optimizer.unlink()  # the trainer would begin with a new one
    lines = []
    assert train_student(student, base, ROWS, students_in(tmp_path), lines.append).steps == 16
    assert "student: going on from checkpoint-12" in lines


def test_the_student_learns_the_whole_trace_and_the_end_and_nothing_of_the_question(
    student: Student, base: Model, tmp_path: Path
) -> None:
    from openthoughts_dagster.generation.model import load_tokenizer

    write_rows(ROWS.head(4), tmp_path / "rows.parquet")
    prepared = prepare_rows(student, base, tmp_path / "rows.parquet", tmp_path / "tokens", print)
    trainer = build_trainer(student, base, prepared, split_batch(student.settings(), 1), tmp_path, print)
    batch = next(iter(trainer.get_train_dataloader()))
    tokenizer = load_tokenizer(base.address, None, base.identity.revision)
    learned = {tokenizer.decode([token for token in row if token != -100]) for row in batch["labels"].tolist()}

    assert learned == {f"<think>{n}+1={n + 1}</think>{n + 1}<|end|>" for n in range(4)}


def test_rows_longer_than_max_length_are_dropped_and_counted(student: Student, base: Model, tmp_path: Path) -> None:
    rows = pl.concat([ROWS.head(30), pl.DataFrame({"question": ["long?"], "text": ["1 " * 200]})])
    short = student.model_copy(update={"training": TRAINING.model_copy(update={"epochs": 1.0})})

    trained = train_student(short, base, rows, students_in(tmp_path), print)

    assert (trained.rows, trained.dropped_rows) == (30, 1)


def test_no_row_to_train_on_is_an_error_that_says_where_to_look(student: Student, base: Model, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=r"no row to train on: 0 answers.*rejected_answers"):
        train_student(student, base, ROWS.head(0), students_in(tmp_path), print)
    assert not list(tmp_path.iterdir())
