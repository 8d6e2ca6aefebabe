"""Rows become tokens once, in files that are mapped, and every row that is not trained on is counted."""

import shutil
import threading
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from openthoughts_dagster.generation.model import Model, locate
from openthoughts_dagster.recipe import Student
from openthoughts_dagster.training import TrainingError, prepare
from openthoughts_dagster.training.batches import split_batch
from openthoughts_dagster.training.callbacks import tokens_of_steps
from openthoughts_dagster.training.prepare import Prepared, prepare_rows
from openthoughts_dagster.training.rows import rows_identity, write_rows
from openthoughts_dagster.training.tokens import pack_rows
from openthoughts_dagster.training.trainer import build_trainer
from openthoughts_dagster_tests.training.tiny_training import quick_training, sums

ROWS = sums(40, lengths=5)


@pytest.fixture
def student(untrained_model: Path) -> Student:
    return Student(name="student", model=str(untrained_model), training=quick_training(), rows=40)


@pytest.fixture
def base(student: Student) -> Model:
    return locate(student, Path())


def prepared(student: Student, base: Model, rows: pl.DataFrame, folder: Path, part_rows: int = 2000) -> Prepared:
    write_rows(rows, folder / "rows.parquet")
    return prepare_rows(student, base, folder / "rows.parquet", folder / "tokens", print, part_rows)


def test_tokens_are_those_of_trl(student: Student, base: Model, tmp_path: Path) -> None:
    from datasets import Dataset
    from trl import SFTConfig, SFTTrainer

    found = prepared(student, base, ROWS, tmp_path, part_rows=16).tokens
    examples = [
        {
            "prompt": [{"role": "user", "content": question}],
            "completion": [{"role": "assistant", "content": text}],
        }
        for question, text in ROWS.iter_rows()
    ]
    arguments = SFTConfig(output_dir=str(tmp_path), max_length=64, bf16=False, use_cpu=True, report_to="none")
    bare = SFTTrainer(base.address, args=arguments, train_dataset=Dataset.from_list(examples)).train_dataset
    assert len(bare) == len(found) == 40 and len(found.files) == 3
    for number, row in enumerate(bare):
        ids, prompt = found.row(number)
        assert ids.tolist() == row["input_ids"]
        assert [-100] * prompt + ids.tolist()[prompt:] == row["labels"]


def test_packs_are_those_of_trl() -> None:
    import pyarrow as pa
    from trl.data_utils import _pack_bfd

    lengths = np.random.default_rng(0).integers(1, 60, 999)
    values = [[row] * int(length) for row, length in enumerate(lengths)]
    table = _pack_bfd(pa.table({"input_ids": values}), 64)
    ours = pack_rows(lengths, 64)
    assert [list(dict.fromkeys(pack)) for pack in table["input_ids"].to_pylist()] == ours
    assert max(int(lengths[pack].sum()) for pack in ours) <= 64


@pytest.mark.parametrize(
    ("too_long", "counts", "longest"),
    [("drop", (41, 1, 1), 64), ("truncate", (42, 0, 2), 64), ("keep", (42, 0, 1), 200)],
)
def test_what_becomes_of_a_row_that_is_too_long_is_counted(
    student: Student, base: Model, tmp_path: Path, too_long: str, counts: tuple[int, int, int], longest: int
) -> None:
    cut_by_teacher = {"question": ["long?", "cut?"], "text": ["1 " * 200, "<think>1+1"]}
    rows = pl.concat([ROWS, pl.DataFrame(cut_by_teacher)])
    found = prepared(student.model_copy(update={"too_long": too_long}), base, rows, tmp_path)
    assert (found.counts.rows, found.counts.dropped_rows, found.counts.cut_rows) == counts
    assert (found.tokens.lengths.max() > 64) == (longest > 64) and len(found.tokens) == counts[0]


def test_a_prompt_that_fills_the_longest_row_leaves_nothing_to_learn_and_is_dropped(
    student: Student, base: Model, tmp_path: Path
) -> None:
    rows = pl.concat([ROWS, pl.DataFrame({"question": ["1 " * 200], "text": ["1"]})])
    found = prepared(student.model_copy(update={"too_long": "truncate"}), base, rows, tmp_path)
    assert (found.counts.rows, found.counts.dropped_rows, found.counts.cut_rows) == (40, 1, 0)


def test_only_rows_that_are_too_long_are_an_error(student: Student, base: Model, tmp_path: Path) -> None:
    short = student.model_copy(update={"training": quick_training(max_length=4)})
    with pytest.raises(TrainingError, match=r"no row to train on: 40 answers, all .* max_length 4 tok"):
        prepared(short, base, ROWS, tmp_path)


def test_an_interrupted_preparation_goes_on_at_its_last_whole_part(
    student: Student, base: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[int] = []
    write = prepare._write_part

    def counting(*arguments: Any) -> Any:
        written.append(arguments[3])
        if written == [0, 10, 20]:
            raise KeyboardInterrupt
        return write(*arguments)

    monkeypatch.setattr(prepare, "_write_part", counting)
    with pytest.raises(KeyboardInterrupt):
        prepared(student, base, ROWS, tmp_path, part_rows=10)
    resumed = prepared(student, base, ROWS, tmp_path, part_rows=10)
    again = prepared(student, base, ROWS, tmp_path, part_rows=10)
    assert written == [0, 10, 20, 20, 30]
    assert resumed.counts == again.counts and len(resumed.tokens) == 40
    assert [resumed.tokens.origin(number) for number in range(40)] == list(range(40))
    other = student.model_copy(update={"system_prompt": "Be brief."})
    assert len(prepared(other, base, ROWS, tmp_path, part_rows=10).tokens) == 40
    assert written[5:] == [0, 10, 20, 30]


def test_a_process_that_comes_while_another_begins_waits_and_has_the_same_tokens(
    student: Student, base: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_rows(ROWS, tmp_path / "rows.parquet")
    at_the_lock, remove, hold = threading.Event(), shutil.rmtree, prepare.hold_file
    found: list[Prepared] = []

    def run() -> None:
        found.append(prepare_rows(student, base, tmp_path / "rows.parquet", tmp_path / "tokens", print))

    second = threading.Thread(target=run)

    def waiting(path: Path) -> AbstractContextManager[None]:
        at_the_lock.set()
        return hold(path)

    def removed(*arguments: Any, **options: Any) -> None:
        remove(*arguments, **options)
        monkeypatch.setattr(prepare, "hold_file", waiting)
        second.start()
        assert at_the_lock.wait(60), "the second never came to the lock"

    monkeypatch.setattr(prepare.shutil, "rmtree", removed)
    run()
    second.join(60)
    assert len(found) == 2 and found[0].counts == found[1].counts and len(found[1].tokens) == 40


def test_rows_that_are_read_from_a_file_have_the_identity_of_those_in_memory(tmp_path: Path) -> None:
    from openthoughts_dagster.lake import frame_hash

    many = pl.concat([ROWS] * 60)
    write_rows(many, tmp_path / "rows.parquet")
    lazy = rows_identity(pl.scan_parquet(tmp_path / "rows.parquet"))
    assert lazy == rows_identity(many) == {"rows": frame_hash(many.with_row_index("position"))}
    cut = pl.DataFrame({"question": ["a"], "text": ["<think>not to its en"]})
    assert rows_identity(cut)["cut_off_rows"] == 1


def test_no_row_of_a_pack_sees_another(student: Student, base: Model, tmp_path: Path) -> None:
    import torch

    packing = student.model_copy(update={"training": quick_training(packing=True, per_device_batch_size=1)})
    rows = prepared(packing, base, ROWS, tmp_path)
    trainer = build_trainer(packing, base, rows, split_batch(packing.settings(), 1), tmp_path, print)
    batch = next(iter(trainer.get_train_dataloader()))
    starts = (batch["position_ids"][0] == 0).nonzero().flatten().tolist()
    assert len(starts) > 1
    with torch.no_grad():
        inputs = {"input_ids": batch["input_ids"], "position_ids": batch["position_ids"]}
        packed = trainer.model.base_model(**inputs).last_hidden_state[0]
        for start, end in zip(starts, [*starts[1:], len(packed)], strict=True):
            alone = trainer.model.base_model(input_ids=batch["input_ids"][:, start:end]).last_hidden_state[0]
            assert torch.allclose(packed[start:end], alone, atol=1e-5)


def test_tokens_of_steps_counts_whole_epochs_and_parts_of_one() -> None:
    count = tokens_of_steps(np.array([5, 1, 2, 4, 3]), 2, lambda epoch: [[0, 1, 2, 3, 4], [4, 3, 2, 1, 0]][epoch])
    assert [count(steps) for steps in range(6)] == [0, 6, 12, 15, 22, 25]
