"""Sharding of weights and optimizer: whole in each process, or with FSDP2 a part of every layer in each."""

import os
from typing import Any

from openthoughts_dagster.recipe import TrainingPreset
from openthoughts_dagster.training.errors import TrainingError


def is_sharded(settings: TrainingPreset, processes: int) -> bool:
    """Return whether each process holds only a part of every layer."""
    return settings.sharding == "fsdp" and processes > 1


def memory_arguments(settings: TrainingPreset, processes: int) -> dict[str, Any]:
    """Return the arguments of TRL's config that concern memory.

    A sharded training is not told of `bf16`, and computes under autocast as others do: accelerate would let FSDP2 cast
    all weights to bfloat16, sum gradients in bfloat16, and train in float32 what the settings want in bfloat16.
    """
    if not is_sharded(settings, processes):
        return {"gradient_checkpointing": settings.gradient_checkpointing}
    return {
        "gradient_checkpointing": False,  # FSDP does the checkpointing itself, without gathering the weights twice
        "fsdp": True,
        "fsdp_config": {
            "version": 2,
            # one process writes the whole state, so that any number of processes can resume
            "state_dict_type": "FULL_STATE_DICT",
            "activation_checkpointing": settings.gradient_checkpointing,
        },
        # gradients are sharded after every pass; otherwise each process would hold those of all weights
        "accelerator_config": {"gradient_accumulation_kwargs": {"sync_each_batch": True}},
    }


def shard_on_cpu(trainer: Any) -> None:
    """Turn on FSDP2 on CPUs, for which accelerate only knows plain DDP."""
    from accelerate.state import AcceleratorState, PartialState
    from accelerate.utils import DistributedType, FullyShardedDataParallelPlugin

    plugin = FullyShardedDataParallelPlugin(**trainer.args.fsdp_plugin_args)
    for shared in (PartialState._shared_state, AcceleratorState._shared_state):
        shared["distributed_type"] = DistributedType.FSDP
    trainer.accelerator.state.fsdp_plugin = plugin
    trainer.is_fsdp_enabled = True
    os.environ["ACCELERATE_USE_FSDP"] = "true"


def check_sharded(model: Any) -> None:
    """Raise TrainingError unless FSDP2 has sharded every weight of the model."""
    from torch.distributed.fsdp import FSDPModule
    from torch.distributed.tensor import DTensor

    whole = [name for name, weight in model.named_parameters() if not isinstance(weight, DTensor)]
    if whole or not isinstance(model, FSDPModule):
        raise TrainingError(
            f"student: sharding is fsdp, and {len(whole):,} weights are whole in each process, such as "
            f"{', '.join(whole[:3])}. This is a bug, or accelerate was configured by ACCELERATE_* or FSDP_* variables: "
            "unset them, or set training.sharding to none"
        )
