"""Settings of supervised fine-tuning, and the paper's presets by the size of the training set."""

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal

from pydantic import Field

from openthoughts_dagster.recipe.fields import Positive, Problem, RecipeModel
from openthoughts_dagster.recipe.identity import Identity

Scheduler = Literal["cosine", "linear", "constant", "constant_with_warmup", "polynomial", "inverse_sqrt"]
_BOUNDS = ("epochs", "steps", "tokens")


class Lora(RecipeModel):
    """Low-rank adapters that are trained instead of the weights, and merged into the weights at the end."""

    rank: Positive = Field(32, description="Rank of the adapters.")
    alpha: Positive = Field(64, description="Scale of the adapters: they count alpha / rank times.")
    dropout: float = Field(0.0, ge=0, lt=1, description="Share of the adapters' inputs that is dropped in training.")
    modules: list[str] = Field(
        default=[], description="Layers that get adapters, e.g. q_proj; empty for every linear layer but the last."
    )


class TrainingPreset(RecipeModel):
    """Hyper-parameters of supervised fine-tuning, under the names that TRL gives them."""

    global_batch_size: Positive = Field(description="Rows per optimizer step over all devices.")
    learning_rate: float = Field(gt=0, description="Peak learning rate.")
    epochs: float | None = Field(None, gt=0, description="Passes over the rows; or `steps`, or `tokens`.")
    steps: Positive | None = Field(None, description="Optimizer steps, instead of `epochs`.")
    tokens: Positive | None = Field(
        None, description="Tokens to train on, instead of `epochs`; the last step is whole."
    )
    packing: bool = Field(False, description="Pack several rows into one sequence.")
    max_length: Positive = Field(16384, description="Longest row in tokens, see the student's `too_long`.")
    per_device_batch_size: Annotated[Positive, Identity.NEVER] = Field(
        1, description="Rows per device and step; the rest is accumulated."
    )
    warmup_ratio: float = Field(0.1, ge=0, lt=1, description="Share of steps with rising learning rate.")
    scheduler: Scheduler = Field("cosine", description="Learning rate schedule.")
    weight_decay: float = Field(0.0, ge=0, description="AdamW weight decay.")
    bf16: bool = Field(
        True, description="Compute in bfloat16 (autocast); weights and optimizer stay as `weights` says."
    )
    weights: Annotated[Literal["float32", "bfloat16"], Identity.UNLESS_DEFAULT] = Field(
        "float32",
        description="Number format of the weights that are trained and of the optimizer's state. bfloat16 halves the "
        "memory, and small updates are rounded away: another student, and a worse one.",
    )
    gradient_checkpointing: Annotated[bool, Identity.NEVER] = Field(True, description="Trade compute for memory.")
    sharding: Annotated[Literal["none", "fsdp"], Identity.NEVER] = Field(
        "none",
        description="Where several accelerators train: the whole model on each, or with fsdp a part of it on each, for "
        "models that do not fit one.",
    )
    context_parallel: Annotated[Positive, Identity.NEVER] = Field(
        1,
        description="Accelerators that share every row, each with a part of its tokens, for rows that are too long for "
        "one. Without packing, and with attention auto or sdpa.",
    )
    activation_offloading: Annotated[bool, Identity.NEVER] = Field(
        False, description="Keep activations in host memory until they are needed again; on a CPU it has no effect."
    )
    attention: Annotated[Literal["auto", "flash_attention_3", "flash_attention_2", "sdpa", "eager"], Identity.NEVER] = (
        Field(
            "auto",
            description="How attention is computed. auto takes flash attention 3 or 2 if the package is installed, the "
            "accelerator has it and bf16 is true, and otherwise PyTorch's sdpa.",
        )
    )
    liger: Annotated[bool, Identity.NEVER] = Field(
        False,
        description="Use Liger's kernels for norms, rotary embeddings and activations (package liger-kernel); on a CPU "
        "it has no effect.",
    )
    lora: Lora | None = Field(
        None, description="Train low-rank adapters and merge them at the end, instead of training all weights."
    )
    shown_answers: Annotated[int, Identity.NEVER] = Field(
        3, ge=0, description="Training questions that the student answers before and after, for people to read."
    )
    save_minutes: Annotated[float, Identity.NEVER] = Field(
        10, gt=0, description="Minutes between checkpoints that an interrupted training resumes."
    )
    save_steps: Annotated[Positive | None, Identity.NEVER] = Field(
        None, description="Steps between checkpoints, instead of `save_minutes`."
    )
    report_to: Annotated[list[Literal["wandb", "mlflow", "trackio", "tensorboard"]], Identity.NEVER] = Field(
        default=[], description="Trackers that are told of the training; install and log in to them yourself."
    )

    @classmethod
    def problems(cls, raw: Mapping[str, Any]) -> Iterator[Problem]:
        """Find a missing or a second bound of the training, and settings that do not go together."""
        named = [name for name in _BOUNDS if raw.get(name) is not None]
        if len(named) != 1:
            yield (
                (),
                f"say how long to train: exactly one of epochs, steps and tokens, got {' and '.join(named) or 'none'}",
            )
        if raw.get("weights") == "bfloat16" and raw.get("bf16") is False:
            yield ("weights",), "is bfloat16, which needs bf16: true; set bf16 to true, or remove weights"
        if str(raw.get("attention")).startswith("flash") and raw.get("bf16") is False:
            yield (
                ("attention",),
                f"{raw.get('attention')} computes in bfloat16 only: set bf16 to true, or attention to auto",
            )
        if isinstance(shared := raw.get("context_parallel"), int) and shared > 1:
            if raw.get("packing") is True:
                yield (
                    ("context_parallel",),
                    f"{shared} does not go with packing: remove it, or set packing to false (another student)",
                )
            if raw.get("attention", "auto") not in ("auto", "sdpa"):
                yield (
                    ("attention",),
                    f"{raw.get('attention')} does not go with context_parallel: set attention to auto",
                )
        if raw.get("lora") is not None and raw.get("sharding") == "fsdp":
            yield (
                ("sharding",),
                "fsdp does not go with lora, whose adapters are merged on one accelerator: remove sharding, the "
                "weights take a quarter of the memory with lora (weights: bfloat16 halves it again)",
            )


def with_overrides(preset: TrainingPreset, overrides: Mapping[str, Any]) -> dict[str, Any]:
    """Return a preset's settings with a recipe's overrides; a bound in the recipe replaces the preset's bound."""
    settings = preset.model_dump(exclude_unset=True)
    if any(overrides.get(name) is not None for name in _BOUNDS):
        settings = {name: value for name, value in settings.items() if name not in _BOUNDS}
    return settings | dict(overrides)


# The paper's settings by set size (OpenThoughts, arXiv 2506.04178, appendix on training). Its comparisons of 31,600
# rows use medium; larger sets use large.
PRESETS: dict[str, TrainingPreset] = {
    # ours, for models of less than a million weights on a CPU: the quickstart's student
    "tiny": TrainingPreset(
        global_batch_size=24,
        per_device_batch_size=24,
        learning_rate=3e-3,
        epochs=8,
        max_length=256,
        bf16=False,
        gradient_checkpointing=False,
    ),
    "micro": TrainingPreset(global_batch_size=32, learning_rate=1e-5, epochs=13),
    "1k": TrainingPreset(global_batch_size=96, learning_rate=2e-5, epochs=11),
    "small": TrainingPreset(global_batch_size=96, learning_rate=2e-5, epochs=7),
    "medium": TrainingPreset(global_batch_size=128, learning_rate=4e-5, epochs=5),
    "large": TrainingPreset(global_batch_size=512, learning_rate=8e-5, epochs=5, packing=True),
}
