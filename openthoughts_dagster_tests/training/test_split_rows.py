"""Processes that share a row compute together what one computes on the whole of it, or it is refused."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from openthoughts_dagster.recipe import Student
from openthoughts_dagster.training import TrainingError, split_rows
from openthoughts_dagster.training.split_rows import SplitRows, check_can_split, repeat_batches
from openthoughts_dagster.training.student_trainer import make_sampler

SIZE = 3
PLACES = [SplitRows(SIZE, rank) for rank in range(SIZE)]


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_token_attends_to_all_before_it_whichever_process_has_them(
    monkeypatch: pytest.MonkeyPatch, dtype: str
) -> None:
    import torch

    torch.manual_seed(0)
    query, key, value = (torch.randn(2, heads, 4 * 2 * SIZE, 8) for heads in (4, 2, 2))
    repeated = [each.repeat_interleave(2, dim=1) for each in (key, value)]
    whole = torch.nn.functional.scaled_dot_product_attention(query, *repeated, is_causal=True).transpose(1, 2)

    def gathered(own: Any, split: SplitRows) -> list[Any]:
        row = next(each for each in (key, value) if torch.equal(split.own(each, 2).to(own.dtype), own))
        return [place.own(row, 2).to(own.dtype) for place in PLACES]

    monkeypatch.setattr(split_rows, "_gather", gathered)
    for place in PLACES:
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=dtype == "bfloat16"):
            queries, keys, values = (place.own(each, 2) for each in (query, key, value))
            found, _ = place.attention(None, queries, keys, values, None)
        assert found.dtype == getattr(torch, dtype)
        assert torch.allclose(found.float(), place.own(whole, 1), atol=1e-5 if dtype == "float32" else 3e-2)


def test_each_token_of_a_row_is_learned_once_in_its_place() -> None:
    import torch
    from trl.trainer.sft_trainer import DataCollatorForLanguageModeling

    rows = [{"input_ids": list(range(10, 10 + n)), "labels": [-100] * 3 + list(range(13, 10 + n))} for n in (13, 7)]
    collate = DataCollatorForLanguageModeling(pad_token_id=0)
    whole, parts = collate(rows), [place.collator(collate)(rows) for place in PLACES]
    learned: list[list[int]] = [[] for _ in rows]
    for part in parts:
        assert {name: tuple(tensor.shape) for name, tensor in part.items()} == dict.fromkeys(part, (2, 6))
        for number, (ids, labels, places) in enumerate(
            zip(part["input_ids"], part["shift_labels"], part["position_ids"], strict=True)
        ):
            for token, label, position in zip(ids.tolist(), labels.tolist(), places.tolist(), strict=True):
                there = position < whole["input_ids"].shape[1]
                assert token == (int(whole["input_ids"][number, position]) if there else 0)
                if label != -100:
                    assert label == token + 1
                    learned[number].append(label)
    assert [sorted(each) for each in learned] == [list(range(13, 23)), list(range(13, 17))]
    assert sum(int((part["shift_labels"] != -100).sum()) for part in parts) == int((whole["labels"] != -100).sum())
    assert torch.equal(torch.cat([part["position_ids"][0] for part in parts]).sort().values, torch.arange(18))


def test_processes_of_a_group_get_the_same_rows_and_every_row_goes_to_one_group() -> None:
    from accelerate.data_loader import BatchSamplerShard
    from torch.utils.data import BatchSampler

    sampler = make_sampler(13, 3, lambda epoch: list(range(13)), lambda: 0, batch=2, sharing=2)
    shards = [BatchSamplerShard(BatchSampler(sampler, 2, False), num_processes=4, process_index=n) for n in range(4)]
    batches = [list(shard) for shard in shards]
    assert len(sampler) == 32 and [len(shard) for shard in shards] == [4] * 4
    assert batches[0] == batches[1] and batches[2] == batches[3]
    assert sorted(row for group in (batches[0], batches[2]) for each in group for row in each) == [
        *range(13),
        13,
        13,
        13,
    ]
    assert list(repeat_batches(iter([1, 2, 3]), 2, 2)) == [1, 2, 1, 2, 3, 3]


def test_a_machine_that_computes_wrong_attention_trains_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    monkeypatch.setattr(split_rows, "_gather", lambda own, split: [own, own.flip(2)])
    with pytest.raises(TrainingError, match=r"context_parallel 2 the attention of this machine is wrong by \d+"):
        SplitRows(2, 0).check_attention(4, 2, 8, "cpu", torch.float32)


@pytest.mark.parametrize(
    ("config", "wrong"),
    [
        ({"layer_types": ["full_attention", "sliding_attention"]}, "sliding_attention"),
        ({"layer_types": ["linear_attention", "full_attention"]}, "linear_attention"),
        ({"sliding_window": 4096}, "sliding_attention"),
        ({"layer_types": ["full_attention"], "rope_parameters": {"rope_type": "dynamic"}}, "dynamic rotary"),
        ({"rope_parameters": {"full_attention": {"rope_type": "longrope"}}}, "longrope rotary"),
    ],
)
def test_models_that_need_whole_rows_are_refused(config: dict[str, Any], wrong: str) -> None:
    with pytest.raises(TrainingError, match=rf"context_parallel is 2, and the model has {wrong}.*set it to 1"):
        check_can_split(SimpleNamespace(**config), 2)


def test_layers_that_compute_their_attention_otherwise_are_noticed(untrained_model: Path) -> None:
    from transformers import AutoConfig

    check_can_split(AutoConfig.from_pretrained(untrained_model), 2)
    with pytest.raises(TrainingError, match=r"2 of 3 layers of the model compute no attention through it"):
        SplitRows(2, 0, layers={1}).check_layers(3)
    with pytest.raises(TrainingError, match=r"does not go with this model's attention \(softcap\)"):
        SplitRows(2, 0).attention(None, None, None, None, None, softcap=30.0)


@pytest.mark.parametrize(
    ("training", "wrong"),
    [
        ({"context_parallel": 4, "packing": True}, "4 does not go with packing"),
        ({"context_parallel": 4, "attention": "flash_attention_2"}, "flash_attention_2 does not go with context_par"),
    ],
)
def test_settings_that_do_not_go_with_split_rows_are_refused_with_the_recipe(
    training: dict[str, Any], wrong: str
) -> None:
    with pytest.raises(ValueError, match=wrong):
        Student.model_validate({"name": "s", "model": "m", "preset": "medium", "training": training})
