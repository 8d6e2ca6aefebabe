"""Loads the weights that are trained with the fastest attention that is installed, and makes adapters for LoRA."""

from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

from openthoughts_dagster.generation.model import Model
from openthoughts_dagster.recipe import TrainingPreset
from openthoughts_dagster.training.errors import TrainingError

_HOPPER, _AMPERE = (9, 0), (8, 0)  # compute capabilities: flash attention 3 and 2 need at least these


def load_weights(base: Model, settings: TrainingPreset, log: Callable[[str], None]) -> Any:
    """Load the model that is trained, with the attention of `settings`, and log which one it is.

    With `attention: auto` an installed flash attention that does not support the model is passed over.

    Raises:
        TrainingError: The attention that the settings name is not usable on this machine or for this model.
    """
    import torch
    from transformers import AutoModelForCausalLM

    wanted = choose_attention(settings)
    for attention in dict.fromkeys((wanted, None)):
        named = {} if attention is None else {"attn_implementation": attention}
        try:
            model = AutoModelForCausalLM.from_pretrained(
                base.address, revision=base.reference.revision, dtype=getattr(torch, settings.weights), **named
            )
        except (ImportError, ValueError) as error:
            if attention is None:
                raise
            if settings.attention != "auto":
                raise TrainingError(
                    f"student: training.attention is {attention}, which cannot be used for {base.address}: {error}. "
                    "Install its package, or set training.attention to auto"
                ) from error
            log(f"student: {attention} is installed and does not support this model: {error}")
        else:
            log(f"student: attention is computed by {attention_of(model)}")
            return model
    raise AssertionError("the loop returns or raises")


def choose_attention(settings: TrainingPreset) -> str | None:
    """Return the attention to load a model with; None for what transformers chooses: sdpa where a model has it."""
    import torch
    from transformers.utils import is_flash_attn_2_available, is_flash_attn_3_available

    if settings.attention != "auto":
        return settings.attention
    if not settings.bf16 or not torch.cuda.is_available():
        return None  # flash attention computes in 16 bits and on accelerators only
    capability = torch.cuda.get_device_capability()
    if is_flash_attn_3_available() and capability >= _HOPPER:
        return "flash_attention_3"
    return "flash_attention_2" if is_flash_attn_2_available() and capability >= _AMPERE else None


def attention_of(model: Any) -> str:
    """Return the name of the attention that a loaded model computes."""
    return str(getattr(model.config, "_attn_implementation", None) or "eager")


def memory_savers(settings: TrainingPreset, log: Callable[[str], None]) -> dict[str, Any]:
    """Return the arguments of TRL's config for Liger's kernels and offloaded activations, which need an accelerator.

    Raises:
        TrainingError: Liger's kernels are wanted and not installed.
    """
    import torch

    wanted = [name for name in ("liger", "activation_offloading") if getattr(settings, name)]
    if wanted and not torch.cuda.is_available():
        log(f"student: on a CPU there is no effect of {' and '.join(wanted)}")
        return {}
    if settings.liger and find_spec("liger_kernel") is None:
        raise TrainingError(
            "student: training.liger is true and liger-kernel is not installed: pip install liger-kernel, or set "
            "training.liger to false"
        )
    return {"use_liger_kernel": settings.liger, "activation_offloading": settings.activation_offloading}


def stop_at(model: Any, end_token: int) -> None:
    """Let a model stop at the token that ends its turn.

    Models before instruction tuning have a chat template with an end of turn, and stop only at the end of a document,
    which the student does not learn to write: all its answers would be as long as they may.
    """
    ends = model.generation_config.eos_token_id
    ends = ends if isinstance(ends, list) else [] if ends is None else [ends]
    if end_token not in ends:
        model.generation_config.eos_token_id = [*ends, end_token]


def lora_config(settings: TrainingPreset) -> Any:
    """Return peft's configuration of the adapters; None if all weights are trained.

    Raises:
        TrainingError: peft is not installed.
    """
    if settings.lora is None:
        return None
    if find_spec("peft") is None:
        raise TrainingError(
            "student: training.lora needs the package peft, which is not installed: pip install peft==0.21.2, or "
            "remove training.lora to train all weights"
        )
    from peft import LoraConfig

    lora = settings.lora
    return LoraConfig(
        task_type="CAUSAL_LM",
        r=lora.rank,
        lora_alpha=lora.alpha,
        lora_dropout=lora.dropout,
        target_modules=lora.modules or "all-linear",
    )


def save_whole_model(trainer: Any, folder: Any) -> None:
    """Save the trained model and its tokenizer as an ordinary checkpoint; adapters are merged into the weights.

    Every process calls it, because each has a part of sharded weights.
    """
    if not hasattr(trainer.accelerator.unwrap_model(trainer.model), "merge_and_unload"):
        trainer.save_model(str(folder))
        return
    if trainer.is_world_process_zero():
        trainer.accelerator.unwrap_model(trainer.model).merge_and_unload().save_pretrained(folder)
        trainer.processing_class.save_pretrained(folder)
