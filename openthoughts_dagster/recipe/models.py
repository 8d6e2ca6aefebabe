"""The language models of a recipe: judges, teachers and the student, with how they sample and what they cost."""

from typing import Literal

from pydantic import Field, field_validator, model_validator

from openthoughts_dagster.recipe.fields import Positive, RecipeModel, Slug

EngineName = Literal["auto", "vllm", "transformers", "openai"]


class Sampling(RecipeModel):
    """How completions are sampled. Every field is part of a completion's key: changing one asks the model anew."""

    temperature: float = Field(1.0, ge=0, description="0 is greedy decoding.")
    top_p: float = Field(1.0, gt=0, le=1, description="Nucleus sampling mass; 1 is off.")
    top_k: int = Field(0, ge=0, description="Sample among the k likeliest tokens; 0 is off.")
    max_tokens: Positive = Field(16384, description="Longest completion, in tokens.")
    seed: int = Field(0, description="Seed of sample 0; sample i uses seed + i.")


class Hardware(RecipeModel):
    """What one engine needs: read by the Kubernetes executor and by the cost account."""

    accelerator: str | None = Field(None, description="Accelerator model, e.g. h100; absent for CPU.")
    count: int = Field(0, ge=0, description="Accelerators per engine (tensor parallel size).")
    memory: str = Field("4Gi", description="Host memory, as Kubernetes writes it.")
    cpus: Positive = Field(2, description="CPU cores.")
    disk: str = Field("20Gi", description="Scratch disk, as Kubernetes writes it.")

    @model_validator(mode="after")
    def _accelerator_has_a_count(self) -> "Hardware":
        if (self.accelerator is None) != (self.count == 0):
            raise ValueError("accelerator and count go together: name both, or neither for CPU")
        return self


class Price(RecipeModel):
    """What a model costs: by token for an API, by accelerator-hour for one's own machines."""

    currency: str = Field("USD", description="Currency of the amounts.")
    prompt_million: float = Field(0, ge=0, description="Price of a million prompt tokens.")
    completion_million: float = Field(0, ge=0, description="Price of a million completion tokens.")
    accelerator_hour: float = Field(0, ge=0, description="Price of one accelerator for one hour.")


class ModelReference(RecipeModel):
    """A model and the engine that serves it."""

    name: Slug = Field(description="Short name; for a teacher it is the partition key.")
    model: str = Field(description="Hugging Face model id, or a checkpoint folder.")
    revision: str | None = Field(None, description="Commit of the model on the hub; folders are hashed instead.")
    engine: EngineName = Field(
        "auto",
        description="vllm (in process), transformers, openai (any OpenAI-compatible server), or auto: "
        "vllm where it is installed, transformers otherwise.",
    )
    base_url: str | None = Field(None, description="Address of the OpenAI-compatible server, for engine openai.")
    api_key_env: str | None = Field(
        None, description="Name of the environment variable that holds the server's key; never the key itself."
    )
    max_in_flight: Positive = Field(256, description="Requests that the engine works on at once.")
    dtype: str = Field("auto", description="Weights and activations type, e.g. bfloat16.")
    max_model_len: Positive | None = Field(None, description="Longest prompt + completion in tokens.")
    system_prompt: str | None = Field(None, description="System message; the paper's teachers have none.")
    sampling: Sampling = Field(default=Sampling(), description="How completions are sampled.")
    hardware: Hardware = Field(default=Hardware(), description="What one engine needs.")
    price: Price = Field(default=Price(), description="What it costs.")

    @model_validator(mode="after")
    def _server_settings_belong_to_openai(self) -> "ModelReference":
        if self.engine != "openai" and (self.base_url or self.api_key_env):
            raise ValueError(f"base_url and api_key_env are for engine openai, this model's engine is {self.engine!r}")
        return self


class Judge(ModelReference):
    """A model that scores questions."""


class Teacher(ModelReference):
    """A model that answers questions. Its name is a partition of every asset from `teacher_answers` on."""


class TrainingPreset(RecipeModel):
    """Hyper-parameters of supervised fine-tuning, by the names TRL gives them."""

    global_batch_size: Positive = Field(description="Rows per optimizer step over all devices.")
    learning_rate: float = Field(gt=0, description="Peak learning rate.")
    epochs: float = Field(gt=0, description="Passes over the rows.")
    packing: bool = Field(False, description="Pack several rows into one sequence.")
    max_length: Positive = Field(16384, description="Longest row in tokens, see `too_long`.")
    per_device_batch_size: Positive = Field(1, description="Rows per device and step; the rest is accumulated.")
    warmup_ratio: float = Field(0.1, ge=0, lt=1, description="Share of steps with rising learning rate.")
    scheduler: str = Field("cosine", description="Learning rate schedule.")
    weight_decay: float = Field(0.0, ge=0, description="AdamW weight decay.")
    bf16: bool = Field(True, description="Train in bfloat16.")
    gradient_checkpointing: bool = Field(True, description="Trade compute for memory.")
    save_steps: Positive = Field(200, description="Steps between checkpoints that an interrupted training resumes.")


# The paper's settings by set size (OpenThoughts, arXiv 2506.04178, appendix on training); medium is what its
# comparisons of 31,600 rows use.
PRESETS = {
    "micro": TrainingPreset(global_batch_size=32, learning_rate=1e-5, epochs=13),
    "1k": TrainingPreset(global_batch_size=96, learning_rate=2e-5, epochs=11),
    "small": TrainingPreset(global_batch_size=96, learning_rate=2e-5, epochs=7),
    "medium": TrainingPreset(global_batch_size=128, learning_rate=4e-5, epochs=5),
    "large": TrainingPreset(global_batch_size=512, learning_rate=8e-5, epochs=5, packing=True),
}


class Student(ModelReference):
    """The model that is fine-tuned on a teacher's answers, and how."""

    preset: str | None = Field(None, description="micro, 1k, small, medium or large: the paper's settings by set size.")
    training: TrainingPreset | None = Field(None, description="Settings of one's own instead of a preset.")
    rows: Positive = Field(31600, description="Rows a student trains on, sampled with the seed.")
    repeat_small_sources: bool = Field(True, description="Repeat rows of sources smaller than `rows`, as the paper.")
    too_long: Literal["drop", "truncate"] = Field(
        "drop", description="Rows over max_length: drop them, or truncate as the paper did (cuts reasoning off)."
    )
    seed: int = Field(0, description="Seed of row sampling and training.")

    def settings(self) -> TrainingPreset:
        """The preset's settings, or the recipe's own."""
        if self.training is not None:
            return self.training
        assert self.preset is not None
        return PRESETS[self.preset]

    @field_validator("preset")
    @classmethod
    def _known_preset(cls, preset: str | None) -> str | None:
        if preset is not None and preset not in PRESETS:
            raise ValueError(f"must be one of {', '.join(PRESETS)}, got {preset!r}")
        return preset

    @model_validator(mode="after")
    def _preset_or_training(self) -> "Student":
        if (self.preset is None) == (self.training is None):
            raise ValueError("name a preset or give training settings: exactly one of the two")
        return self
