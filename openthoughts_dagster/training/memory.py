"""Computes from a model's configuration what its training needs in memory, and whether vLLM can score it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from openthoughts_dagster.cluster.pods import amount
from openthoughts_dagster.recipe import Student, TrainingPreset
from openthoughts_dagster.training.errors import TrainingError

ACCELERATOR_GB = {
    "b200": 180,
    "h200": 141,
    "h100": 80,
    "a100": 80,
    "l40s": 48,
    "a10g": 24,
    "l4": 24,
    "t4": 16,
    "mi300x": 192,
}
"""Memory of an accelerator in GB (10^9 bytes), from its maker's data sheet; an a100 may also have 40."""

_USABLE = 0.92  # the rest is taken by the driver, by buffers of communication, and by gaps between allocations
_FLOAT32, _BFLOAT16 = 4, 2


@dataclass(frozen=True)
class MemoryNeed:
    """What one accelerator holds during a training, in bytes: `state` is of weights, gradients and AdamW, `copies` of
    weights in the format of the computation, and `activations` of one pass. `host` is of one process."""

    state: float
    copies: float
    activations: float
    host: float

    @property
    def accelerator(self) -> float:
        """The sum of what the accelerator holds."""
        return self.state + self.copies + self.activations


def count_weights(config: Mapping[str, Any]) -> tuple[int, int]:
    """Count the weights of a decoder-only model of the Llama, Qwen or Mixtral kind.

    Args:
        config: The content of the model's config.json.

    Returns:
        All weights, and those of linear layers in one decoder layer summed as inputs + outputs: an adapter of rank r
        on each of them has r times as many.

    Raises:
        KeyError: The configuration lacks a size.
    """
    text = _text_config(config)
    hidden, heads = text["hidden_size"], text["num_attention_heads"]
    size = text.get("head_dim") or hidden // heads
    queries, keys = heads * size, (text.get("num_key_value_heads") or heads) * size
    linear = [(hidden, queries), (hidden, keys), (hidden, keys), (queries, hidden)]
    experts = text.get("num_experts") or text.get("num_local_experts") or 1
    inner = text.get("moe_intermediate_size") or text["intermediate_size"]
    linear += [(hidden, inner), (hidden, inner), (inner, hidden)] * experts
    layer = sum(one * other for one, other in linear) + 2 * hidden + (experts * hidden if experts > 1 else 0)
    embeddings = text["vocab_size"] * hidden * (1 if text.get("tie_word_embeddings") else 2)
    return embeddings + text["num_hidden_layers"] * layer + hidden, sum(one + other for one, other in linear)


def needed_memory(config: Mapping[str, Any], settings: TrainingPreset, accelerators: int) -> MemoryNeed:
    """Compute what one accelerator needs in memory for a training.

    The formulas are in docs/training.md. They count no buffers of kernels and of communication.

    Args:
        config: The content of the base model's config.json.
        settings: The settings of the training.
        accelerators: The number of accelerators that train together, on all machines.

    Raises:
        KeyError: The configuration lacks a size.
    """
    text, (weights, linear) = _text_config(config), count_weights(config)
    hidden, layers = text["hidden_size"], text["num_hidden_layers"]
    number = _FLOAT32 if settings.weights == "float32" else _BFLOAT16
    state: float = 4 * number * weights  # the weights, their gradients, and two moments of AdamW
    if settings.lora is not None:
        state = number * weights + 4 * _FLOAT32 * settings.lora.rank * linear * layers
    computed = _BFLOAT16 if settings.bf16 else _FLOAT32
    copies: float = 0 if number == computed else computed * weights  # autocast keeps them for a whole pass
    if settings.sharding == "fsdp" and accelerators > 1:
        # two layers are gathered at once; products keep the copies that they need in the backward pass
        state, copies = state / accelerators, copies / (layers if settings.gradient_checkpointing else 1)
        copies += 2 * number * weights / layers
    row_tokens = settings.per_device_batch_size * settings.max_length
    tokens = row_tokens // (settings.context_parallel if accelerators > 1 else 1)
    inside = 17 * computed * tokens * hidden  # of one layer: inputs of its products, norms and activations
    if tokens < row_tokens:
        inside += 4 * computed * row_tokens * hidden  # keys and values of whole rows, and their gradients
    kept = computed * tokens * hidden * layers  # the input of every layer
    if not settings.gradient_checkpointing:
        kept = inside * layers
    if settings.activation_offloading:
        return MemoryNeed(state, copies, inside, number * weights + kept)
    return MemoryNeed(state, copies, kept + inside, number * weights)


def describe_memory(config: Mapping[str, Any], student: Student) -> tuple[bool, str]:
    """Say whether a student's training fits the memory of its hardware, by the formulas.

    Returns:
        Whether it fits, and a sentence with the numbers and what to change. Hardware whose memory is not known fits.
    """
    settings, hardware = student.settings(), student.hardware
    count = max(1, hardware.count)
    need = needed_memory(config, settings, count * hardware.nodes)
    weights = count_weights(config)[0]
    says = f"a training of {_in_words(weights)} weights needs {_gb(need.accelerator)} "
    if hardware.accelerator is None:
        fits, has = need.accelerator <= amount(hardware.memory), amount(hardware.memory)
        return fits, f"{says}of {_gb(has)} host memory by formula" + ("" if fits else f": {_advice(settings, count)}")
    has = ACCELERATOR_GB.get(hardware.accelerator, 0) * 10**9
    says += f"of each {hardware.accelerator} by formula: {_gb(need.state)} weights, gradients and optimizer, "
    says += f"{_gb(need.copies)} copies in the format of computation, {_gb(need.activations)} activations"
    if not has:
        return True, f"{says}; how much one has is not known"
    if need.accelerator > _USABLE * has:
        return False, f"{says}; it has {_gb(has)}: {_advice(settings, count)}"
    if count * need.host > amount(hardware.memory):
        return False, (
            f"{says}; it has {_gb(has)}. But {count} processes need {_gb(count * need.host)} of host memory, and "
            f"hardware.memory is {hardware.memory}: raise it"
        )
    return True, f"{says}; it has {_gb(has)}"


def check_heads(config: Mapping[str, Any], student: Student) -> None:
    """Raise TrainingError if vLLM could not score the student on its hardware.

    vLLM splits the attention heads evenly between the accelerators of an engine.
    """
    hardware = student.for_scoring().hardware
    heads, count = _text_config(config).get("num_attention_heads"), hardware.count
    if count < 2 or student.engine == "transformers" or not heads or heads % count == 0:
        return
    fitting = [number for number in (1, 2, 4, 8) if number < count and heads % number == 0]
    setting = "hardware" if student.scoring_hardware is None else "scoring_hardware"
    raise TrainingError(
        f"student: its {heads} attention heads cannot be split between {count} accelerators ({setting}.count), so "
        f"that vLLM could not score it: set student.scoring_hardware to a machine with {fitting[-1]}, or "
        f"{setting}.count to {fitting[-1]}"
    )


def _text_config(config: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the part of a configuration that is of the language model."""
    inner = config.get("text_config")
    return inner if isinstance(inner, Mapping) else config


def _advice(settings: TrainingPreset, count: int) -> str:
    ways = []
    if not settings.gradient_checkpointing:
        ways.append("set training.gradient_checkpointing to true")
    if settings.sharding == "none" and settings.lora is None:
        ways.append("set training.sharding to fsdp" + ("" if count > 1 else " on several accelerators"))
    if settings.per_device_batch_size > 1:
        ways.append("set training.per_device_batch_size to 1")
    ways.append("take more or larger accelerators")
    return ", or ".join(ways)


def _in_words(weights: float) -> str:
    return f"{weights / 1e9:,.3g} billion" if weights >= 1e8 else f"{weights / 1e6:,.2g} million"


def _gb(size: float) -> str:
    return f"{size / 1e9:,.1f} GB"
