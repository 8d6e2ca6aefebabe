"""A student is the one that bare TRL trains, and a broken one is never published."""

import weakref
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from openthoughts_dagster.generation.model import locate
from openthoughts_dagster.recipe import Hardware, Student
from openthoughts_dagster.training import Trained, TrainingError, run, train_student
from openthoughts_dagster.training.callbacks import check_finite_weights
from openthoughts_dagster.training.trainer import build_trainer
from openthoughts_dagster_tests.training.tiny_training import quick_training, students_in, sums

ROWS = sums(64, lengths=5)


def student_of(model: Path, **settings: Any) -> Student:
    return Student(name="student", model=str(model), training=quick_training(**settings), rows=64)


def train(student: Student, folder: Path, log: Any = print, rows: pl.DataFrame | pl.LazyFrame = ROWS) -> Trained:
    return train_student(student, locate(student, Path()), rows, students_in(folder), log, 1)


def weights(path: str | Path) -> dict[str, Any]:
    from safetensors.torch import load_file

    return dict(load_file(f"{path}/model.safetensors"))


@pytest.mark.parametrize("packing", [False, True])
def test_the_student_is_the_one_that_bare_trl_trains(untrained_model: Path, tmp_path: Path, packing: bool) -> None:
    from datasets import Dataset
    from trl import SFTConfig, SFTTrainer

    size = {"global_batch_size": 8, "per_device_batch_size": 4 if not packing else 2}
    ours = train(student_of(untrained_model, packing=packing, **size), tmp_path)
    examples = [
        {"prompt": [{"role": "user", "content": question}], "completion": [{"role": "assistant", "content": text}]}
        for question, text in ROWS.iter_rows()
    ]
    arguments = SFTConfig(
        output_dir=str(tmp_path / "bare"),
        per_device_train_batch_size=size["per_device_batch_size"],
        gradient_accumulation_steps=8 // size["per_device_batch_size"],
        learning_rate=2e-3,
        num_train_epochs=2,
        lr_scheduler_type="cosine",
        warmup_steps=0.1,
        max_length=64,
        packing=packing,
        bf16=False,
        gradient_checkpointing=False,
        seed=0,
        data_seed=0,
        report_to="none",
        save_strategy="no",
        disable_tqdm=True,
    )
    bare = SFTTrainer(str(untrained_model), args=arguments, train_dataset=Dataset.from_list(examples))
    bare.train()
    bare.save_model(str(tmp_path / "bare"))

    theirs = weights(tmp_path / "bare")
    assert all(bool((tensor == theirs[name]).all()) for name, tensor in weights(ours.path).items())
    assert ours.steps == bare.state.global_step


def test_a_loss_that_is_no_number_stops_the_training_and_names_the_rows(
    untrained_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    student, made = student_of(untrained_model, epochs=4, save_steps=2), build_trainer

    def breaks_at_the_sixth(*arguments: Any) -> Any:
        trainer = made(*arguments)
        compute = trainer.compute_loss

        def compute_loss(*inputs: Any, **more: Any) -> Any:
            loss = compute(*inputs, **more)
            return loss * float("nan") if trainer.state.global_step == 5 else loss

        trainer.compute_loss = compute_loss
        return trainer

    monkeypatch.setattr(run, "build_trainer", breaks_at_the_sixth)
    with pytest.raises(TrainingError, match=r"the loss is nan at step 6.*of 16 rows .*training rows\): \d+, .*kept"):
        train(student, tmp_path)
    assert not list(tmp_path.glob("*/final")) and len(list(tmp_path.glob("*.partial/checkpoint-4"))) == 1
    monkeypatch.setattr(run, "build_trainer", made)
    lines: list[str] = []
    assert train(student, tmp_path, lines.append).steps == 16
    assert "student: going on from checkpoint-4" in lines


def test_a_learning_rate_that_breaks_the_weights_publishes_nothing(untrained_model: Path, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=r"at step \d+, and training stopped before it changed|not all finite"):
        train(student_of(untrained_model, learning_rate=1e30, warmup_ratio=0.0), tmp_path)
    assert [path.suffix for path in tmp_path.iterdir()] == [".partial"]


def test_weights_that_are_no_numbers_are_not_published(untrained_model: Path, tmp_path: Path) -> None:
    import torch
    from safetensors.torch import save_file

    check_finite_weights(untrained_model)
    save_file({"a": torch.ones(2), "b": torch.tensor([1.0, float("inf")])}, tmp_path / "model.safetensors")
    with pytest.raises(TrainingError, match="the weights b are not all finite"):
        check_finite_weights(tmp_path)


def test_numbers_and_curves_are_of_what_was_trained_on_in_all_attempts(
    untrained_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    student = student_of(untrained_model, epochs=1.5)
    made, shown = build_trainer, list[bool]()

    def stops_after_a_checkpoint(*arguments: Any) -> Any:
        trainer = made(*arguments)
        step = trainer.training_step

        def training_step(model: Any, inputs: Any, *more: Any) -> Any:
            if trainer.state.global_step == 4 and not shown:
                shown.append(True)
                raise KeyboardInterrupt
            return step(model, inputs, *more)

        trainer.training_step = training_step
        return trainer

    monkeypatch.setattr(run, "build_trainer", stops_after_a_checkpoint)
    with pytest.raises(KeyboardInterrupt):
        train(student, tmp_path)
    trained = train(student, tmp_path)

    lengths = run.prepare_rows(student, locate(student, Path()), _rows(tmp_path), tmp_path / "t", print).tokens.lengths
    assert trained.rows == 64 and trained.steps == 6
    assert int(lengths.sum()) < trained.train_tokens < 2 * int(lengths.sum())
    assert [step for step, _ in trained.losses] == [1, 5]
    assert len(trained.learning_rates) == len(trained.gradient_norms) == 2
    assert all(norm > 0 for _, norm in trained.gradient_norms)


def _rows(folder: Path) -> Path:
    ROWS.write_parquet(folder / "rows.parquet")
    return folder / "rows.parquet"


def test_a_training_is_bound_by_steps_or_tokens(untrained_model: Path, tmp_path: Path) -> None:
    by_steps = train(student_of(untrained_model, epochs=None, steps=3), tmp_path)
    assert by_steps.steps == 3
    by_tokens = train(student_of(untrained_model, epochs=None, tokens=by_steps.train_tokens), tmp_path)
    assert (by_tokens.steps, by_tokens.train_tokens) == (3, by_steps.train_tokens)
    more = train(student_of(untrained_model, epochs=None, tokens=by_steps.train_tokens + 1), tmp_path)
    assert more.steps == 4


def test_a_training_that_runs_out_of_memory_goes_on_in_smaller_passes_to_the_same_student(
    untrained_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    made, models = build_trainer, list[Any]()

    def needs_much(*arguments: Any) -> Any:
        assert all(model() is None for model in models)  # or the memory of each attempt would stay taken
        trainer = made(*arguments)
        models.append(weakref.ref(trainer.model))
        compute = trainer.compute_loss

        def compute_loss(model: Any, inputs: Any, *more: Any, **named: Any) -> Any:
            if len(inputs["input_ids"]) > 4 and trainer.state.global_step == 4:
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
            return compute(model, inputs, *more, **named)

        trainer.compute_loss = compute_loss
        return trainer

    monkeypatch.setattr(run, "build_trainer", needs_much)
    lines: list[str] = []
    small = train(student_of(untrained_model), tmp_path / "small", lines.append)
    monkeypatch.setattr(run, "build_trainer", made)
    large = train(student_of(untrained_model), tmp_path / "large")

    tried = [line for line in lines if "Trying passes of" in line]
    assert len(models) == 3
    assert [line.rpartition("Trying passes of ")[2] for line in tried] == ["8 rows", "4 rows"]
    assert (small.fingerprint, small.steps) == (large.fingerprint, large.steps)
    theirs = weights(large.path)
    assert max(float((tensor - theirs[name]).abs().max()) for name, tensor in weights(small.path).items()) < 1e-4


def test_heads_that_an_engine_could_not_split_are_refused_before_training(
    untrained_model: Path, tmp_path: Path
) -> None:
    hardware = Hardware(accelerator="h100", count=8)
    with pytest.raises(TrainingError, match=r"its 2 attention heads cannot be split between 8.*hardware.count to 2"):
        train(student_of(untrained_model).model_copy(update={"hardware": hardware}), tmp_path)


def test_rows_may_be_a_query_that_is_never_held_as_a_whole(untrained_model: Path, tmp_path: Path) -> None:
    ROWS.write_parquet(tmp_path / "rows.parquet")
    student = student_of(untrained_model, epochs=1)
    lazy = train(student, tmp_path / "lazy", rows=pl.scan_parquet(tmp_path / "rows.parquet"))
    assert lazy.fingerprint == train(student, tmp_path / "lazy").fingerprint
