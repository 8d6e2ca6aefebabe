"""Settings of supervised fine-tuning, and the paper's own by set size."""

from typing import Annotated, Literal

from pydantic import Field

from openthoughts_dagster.recipe.fields import Positive, RecipeModel
from openthoughts_dagster.recipe.identity import Identity


class TrainingPreset(RecipeModel):
    """Hyper-parameters of supervised fine-tuning, by the names TRL gives them."""

    global_batch_size: Positive = Field(description="Rows per optimizer step over all devices.")
    learning_rate: float = Field(gt=0, description="Peak learning rate.")
    epochs: float = Field(gt=0, description="Passes over the rows.")
    packing: bool = Field(False, description="Pack several rows into one sequence.")
    max_length: Positive = Field(16384, description="Longest row in tokens, see the student's `too_long`.")
    per_device_batch_size: Annotated[Positive, Identity.NEVER] = Field(
        1, description="Rows per device and step; the rest is accumulated."
    )
    warmup_ratio: float = Field(0.1, ge=0, lt=1, description="Share of steps with rising learning rate.")
    scheduler: str = Field("cosine", description="Learning rate schedule.")
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
    save_steps: Annotated[Positive, Identity.NEVER] = Field(
        200, description="Steps between checkpoints that an interrupted training resumes."
    )


# The paper's settings by set size (OpenThoughts, arXiv 2506.04178, appendix on training); medium is what its
# comparisons of 31,600 rows use, large what it uses for more rows.
PRESETS: dict[str, TrainingPreset] = {
    "micro": TrainingPreset(global_batch_size=32, learning_rate=1e-5, epochs=13),
    "1k": TrainingPreset(global_batch_size=96, learning_rate=2e-5, epochs=11),
    "small": TrainingPreset(global_batch_size=96, learning_rate=2e-5, epochs=7),
    "medium": TrainingPreset(global_batch_size=128, learning_rate=4e-5, epochs=5),
    "large": TrainingPreset(global_batch_size=512, learning_rate=8e-5, epochs=5, packing=True),
}
