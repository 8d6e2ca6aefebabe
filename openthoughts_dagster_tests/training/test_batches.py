"""A global batch is split between the processes exactly, or not at all."""

import pytest

from openthoughts_dagster.recipe import TrainingPreset
from openthoughts_dagster.training import TrainingError
from openthoughts_dagster.training.batches import split_batch


def settings(whole: int, per_device: int) -> TrainingPreset:
    return TrainingPreset(global_batch_size=whole, per_device_batch_size=per_device, learning_rate=1e-5, epochs=1)


@pytest.mark.parametrize("processes", [1, 2, 8, 32])
def test_the_product_is_the_global_batch(processes: int) -> None:
    for whole, per_device in ((96, 1), (128, 4), (512, 16), (96, 96)):
        batches = split_batch(settings(whole, per_device), processes)
        assert batches.per_device * batches.accumulation * batches.processes == whole
        assert batches.per_device <= per_device


def test_processes_that_do_not_divide_the_batch_are_an_error_that_says_which_do() -> None:
    with pytest.raises(TrainingError, match=r"96 rows cannot be split between 5 processes: train on 4 or 6 .* of 5"):
        split_batch(settings(96, 1), 5)


def test_processes_that_share_rows_count_as_one_and_divide_all_processes() -> None:
    shared = settings(96, 4).model_copy(update={"context_parallel": 4})
    found = split_batch(shared, 8)
    assert (found.per_device, found.accumulation, found.sharing) == (4, 12, 4)
    assert split_batch(shared, 1).sharing == 1
    with pytest.raises(TrainingError, match=r"context_parallel is 4, which does not divide 6 processes"):
        split_batch(shared, 6)
    with pytest.raises(TrainingError, match=r"between 5 groups of 4 processes: train on 16 or 24 .* multiple of 5"):
        split_batch(shared, 20)


def test_rows_per_device_that_do_not_divide_a_share_are_an_error_that_says_which_do() -> None:
    with pytest.raises(TrainingError, match=r"16 rows an optimizer step.*per_device_batch_size 6.*to 4"):
        split_batch(settings(128, 6), 8)
