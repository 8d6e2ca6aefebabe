"""The language models of a recipe: judges, teachers and the student, with their sampling and their prices."""

from collections.abc import Iterator, Mapping
from datetime import date
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, field_validator, model_validator

from openthoughts_dagster.recipe.engines import ENGINES, PUBLISHED, foreign_setting, known_engine
from openthoughts_dagster.recipe.fields import Positive, Problem, RecipeModel, Slug
from openthoughts_dagster.recipe.generation import CommitBudget, Expectations, Sharding
from openthoughts_dagster.recipe.hardware import Hardware, on_one_machine
from openthoughts_dagster.recipe.identity import Identity
from openthoughts_dagster.recipe.presets import PRESETS, TrainingPreset, with_overrides
from openthoughts_dagster.recipe.serving import (
    BatchOptions,
    PublishedAnswers,
    RequestParameters,
    Retry,
    VllmOptions,
    address_problem,
)

EngineName = Annotated[str, AfterValidator(known_engine)]


class RepetitionGuard(RecipeModel):
    """When a completion counts as repetitive: its last tokens are the same passage several times in a row."""

    times: int = Field(16, ge=2, description="How often in a row the passage stands at the end.")
    shortest: Positive = Field(4, description="Shortest passage in tokens; rows of one sign are shorter.")
    longest: Positive = Field(64, description="Longest passage in tokens; every token is compared with up to so many.")

    @classmethod
    def problems(cls, raw: Mapping[str, Any]) -> Iterator[Problem]:
        """Find a longest passage that is shorter than the shortest one."""
        shortest, longest = raw.get("shortest", 4), raw.get("longest", 64)
        if isinstance(shortest, int) and isinstance(longest, int) and longest < shortest:
            yield ("longest",), f"must be at least shortest ({shortest}), got {longest}"


class Sampling(RecipeModel):
    """How completions are sampled. Every field is part of a completion's key, so changing one asks the model again."""

    temperature: float = Field(1.0, ge=0, description="0 is greedy decoding.")
    top_p: float = Field(1.0, gt=0, le=1, description="Nucleus sampling mass; 1 is off.")
    top_k: int = Field(0, ge=0, description="Sample among the k likeliest tokens; 0 is off.")
    max_tokens: Positive = Field(16384, description="Longest completion, in tokens.")
    seed: int = Field(0, description="Part of the key, from which the seed of every sample is derived.")
    thinking_budget: Positive | None = Field(
        None, description="Tokens of reasoning after which `</think>` is forced, so that an answer follows."
    )
    repetition: RepetitionGuard | None = Field(None, description="Stops a completion that goes round in circles.")


class Price(RecipeModel):
    """What a model costs: per token for an API, per accelerator-hour for your own machines."""

    currency: str = Field("USD", description="Currency of the amounts.")
    prompt_million: float = Field(0, ge=0, description="Price of a million prompt tokens.")
    completion_million: float = Field(0, ge=0, description="Price of a million completion tokens.")
    accelerator_hour: float = Field(0, ge=0, description="Price of one accelerator for one hour.")


class ModelReference(RecipeModel):
    """A model and the engine that serves it."""

    name: Slug = Field(description="Short name; for a teacher it is the partition key.")
    model: str = Field(
        description="Hugging Face model id, or a checkpoint folder; for engine published the id of a data set, its "
        "folder, or a file."
    )
    revision: str | None = Field(None, description="Commit of the model on the hub; folders are hashed instead.")
    engine: Annotated[EngineName, Identity.NEVER] = Field(
        "auto",
        description="vllm (in process), transformers, openai (any OpenAI-compatible server), published (a teacher's "
        "answers in a data set), or auto: vllm where it is installed, transformers otherwise.",
    )
    base_url: Annotated[str | None, Identity.NEVER] = Field(
        None, description="Address of the OpenAI-compatible server, for engine openai."
    )
    api_key_env: Annotated[str | None, Identity.NEVER] = Field(
        None, description="Name of the environment variable that holds the server's key; never the key itself."
    )
    tokenizer: str | None = Field(
        None,
        description="For engine openai: folder or hub id of the served model's tokenizer. With it we apply the chat "
        "template and ask /completions with the rendered prompt; without it the server applies its own.",
    )
    parameters: Annotated[RequestParameters, Identity.NEVER] = Field(
        default=RequestParameters(), description="For engine openai: how its server wants parameters."
    )
    stream: Annotated[Literal["auto", "always", "never"], Identity.NEVER] = Field(
        "auto",
        description="For engine openai: whether answers are streamed, so that no gateway ends a long one. auto streams "
        "where max_tokens is 8192 or more and the server is no vLLM, and everywhere once a gateway has timed out.",
    )
    mode: Annotated[Literal["requests", "batch"], Identity.NEVER] = Field(
        "requests",
        description="For engine openai: batch puts requests into files that the server answers within a day, usually "
        "at half the price; requests asks them one by one.",
    )
    batch: Annotated[BatchOptions, Identity.NEVER] = Field(
        default=BatchOptions(), description="For mode batch: its price and the size of batches."
    )
    retry: Annotated[Retry, Identity.NEVER] = Field(default=Retry(), description="What is done about failures.")
    vllm: Annotated[VllmOptions, Identity.NEVER] = Field(
        default=VllmOptions(), description="What engine vllm is told beyond these settings."
    )
    published: Annotated[PublishedAnswers, Identity.UNLESS_DEFAULT] = Field(
        default=PublishedAnswers(), description="For engine published: which files and columns have the answers."
    )
    max_in_flight: Annotated[Positive, Identity.NEVER] = Field(
        256, description="Requests that the engine works on at once."
    )
    dtype: Annotated[str, Identity.NEVER] = Field("auto", description="Weights and activations type, e.g. bfloat16.")
    max_model_len: Positive | None = Field(None, description="Longest prompt + completion in tokens.")
    system_prompt: str | None = Field(None, description="System message; the paper's teachers have none.")
    template_date: date | None = Field(
        None,
        description="The date that a chat template writes as today's, e.g. 2026-11-25. Templates that write one "
        "need it: else every key would be new each day.",
    )
    sampling: Sampling = Field(default=Sampling(), description="How completions are sampled.")
    hardware: Annotated[Hardware, Identity.NEVER] = Field(
        default=Hardware(), description="What one engine needs: a mapping, or a shape's name such as h100x2."
    )
    price: Annotated[Price, Identity.NEVER] = Field(default=Price(), description="What it costs.")
    commit: Annotated[CommitBudget, Identity.NEVER] = Field(
        default=CommitBudget(), description="When its completions are committed."
    )
    expected: Annotated[Expectations, Identity.NEVER] = Field(
        default=Expectations(), description="What estimates start from."
    )

    @classmethod
    def problems(cls, raw: Mapping[str, Any]) -> Iterator[Problem]:
        """Find settings of another engine, and a malformed address."""
        engine = raw.get("engine", "auto")
        for field in sorted({setting for entry in ENGINES.values() for setting in entry.settings}):
            if not raw.get(field) or not isinstance(engine, str) or _is_default(cls, field, raw[field]):
                continue
            if owner := foreign_setting(engine, field):
                yield (field,), f"is for engine {owner}, and this model's engine is {engine!r}; change one of the two"
        if isinstance(url := raw.get("base_url"), str) and (problem := address_problem(url)):
            yield ("base_url",), problem


def _is_default(model: type[RecipeModel], field: str, value: Any) -> bool:
    """Whether a raw value is the field's default, as a model that was written out with all of its settings has it."""
    default = model.model_fields[field].get_default(call_default_factory=True)
    return bool(value == (default.model_dump(mode="json") if isinstance(default, RecipeModel) else default))


def _refuse_published(raw: Mapping[str, Any]) -> Iterator[Problem]:
    if raw.get("engine") == PUBLISHED:
        yield ("engine",), "is published, and only a teacher's answers can be read from a data set: take another engine"


class Judge(ModelReference):
    """A model that scores questions."""

    @classmethod
    def problems(cls, raw: Mapping[str, Any]) -> Iterator[Problem]:
        """Refuse a judge on several machines, and one whose answers are published."""
        yield from super().problems(raw)
        yield from _refuse_published(raw)
        yield from on_one_machine(raw)


class Teacher(ModelReference):
    """A model that answers questions. Its name is a partition of every asset from `teacher_answers` on."""

    shards: Annotated[Sharding, Identity.NEVER] = Field(
        default=Sharding(), description="How a partition is cut up for several engines."
    )

    @classmethod
    def problems(cls, raw: Mapping[str, Any]) -> Iterator[Problem]:
        """Refuse a teacher on several machines."""
        yield from super().problems(raw)
        yield from on_one_machine(raw)


class Reference(ModelReference):
    """A model that students are compared with: it answers the benchmarks, and nothing else."""

    @classmethod
    def problems(cls, raw: Mapping[str, Any]) -> Iterator[Problem]:
        """Refuse a reference on several machines."""
        yield from super().problems(raw)
        yield from on_one_machine(raw)


class Student(ModelReference):
    """The model that is fine-tuned on a teacher's answers, and the settings of its training."""

    preset: str | None = Field(
        None, description="micro, 1k, small, medium or large: the paper's settings by set size; or tiny, for a CPU."
    )
    training: TrainingPreset | None = Field(
        None, description="Settings of one's own; with a preset only those that differ from it."
    )
    rows: Positive = Field(31600, description="Rows a student trains on, sampled with the seed.")
    repeat_small_sources: bool = Field(True, description="Repeat rows of sources smaller than `rows`, as the paper.")
    too_long: Literal["drop", "truncate", "keep"] = Field(
        "drop",
        description="Rows over max_length: drop them, truncate them as the paper did (cuts reasoning off), or keep "
        "them whole, which takes the memory of the longest.",
    )
    seed: int = Field(0, description="Seed of row sampling and training.")
    seeds: Annotated[list[int] | None, Identity.NEVER] = Field(
        None,
        min_length=1,
        description="Seeds of the students of each cell, `seed` among them: one student each, and the rankings say how "
        "much students differ by their seeds. One student when absent. Studies have seeds of their own.",
    )
    scoring_hardware: Annotated[Hardware | None, Identity.NEVER] = Field(
        None,
        description="What one engine needs that scores the student, where it differs from `hardware`, on which it is "
        "trained.",
    )

    def for_scoring(self) -> "Student":
        """Return this student with the hardware on which it is scored: one machine."""
        hardware = self.scoring_hardware or self.hardware.model_copy(update={"nodes": 1})
        return self.model_copy(update={"hardware": hardware})

    @property
    def other_seeds(self) -> list[int]:
        """The seeds of a cell's further students, beside `seed`."""
        return [seed for seed in self.seeds or [] if seed != self.seed]

    def settings(self) -> TrainingPreset:
        """The settings of the preset, or those of the recipe."""
        if self.training is not None:
            return self.training
        assert self.preset is not None
        return PRESETS[self.preset]

    @model_validator(mode="before")
    @classmethod
    def _override_preset(cls, raw: Any) -> Any:
        """Merge `training` into the preset; it contains only the settings that differ."""
        if (
            not isinstance(raw, Mapping)
            or raw.get("preset") not in PRESETS
            or not isinstance(raw.get("training"), Mapping)
        ):
            return raw
        return {**raw, "training": with_overrides(PRESETS[raw["preset"]], raw["training"])}

    @field_validator("preset")
    @classmethod
    def _known_preset(cls, preset: str | None) -> str | None:
        if preset is not None and preset not in PRESETS:
            raise ValueError(f"must be one of {', '.join(PRESETS)}, got {preset!r}")
        return preset

    @classmethod
    def problems(cls, raw: Mapping[str, Any]) -> Iterator[Problem]:
        """Find missing training settings, and bfloat16 on an accelerator that does not support it."""
        yield from super().problems(raw)
        yield from _refuse_published(raw)
        for _, problem in on_one_machine({"hardware": raw.get("scoring_hardware")}):
            yield ("scoring_hardware", "nodes"), problem
        seeds, seed = raw.get("seeds"), raw.get("seed", 0)
        if isinstance(seeds, list) and (seed not in seeds or len(set(map(str, seeds))) < len(seeds)):
            yield ("seeds",), f"must name each seed once, and `seed` ({seed}) among them, got {seeds}"
        preset, training = raw.get("preset"), raw.get("training")
        if preset is None and training is None:
            yield (), f"name a preset ({', '.join(PRESETS)}) or give training settings, or both"
        if _accelerator_of(raw.get("hardware")) in _WITHOUT_BF16 and _computes_in_bf16(preset, training):
            yield (
                ("training", "bf16"),
                f"is true, and a {_accelerator_of(raw.get('hardware'))} has no bfloat16: set training.bf16 to false, "
                "or take other hardware",
            )


_WITHOUT_BF16 = {"t4", "v100", "p100"}


def _accelerator_of(hardware: Any) -> str | None:
    """Return the accelerator of a raw `hardware`: a mapping, a shape's name or a finished model."""
    if isinstance(hardware, str):
        return hardware.rpartition("x")[0]
    found = hardware.get("accelerator") if isinstance(hardware, Mapping) else getattr(hardware, "accelerator", None)
    return found if isinstance(found, str) else None


def _computes_in_bf16(preset: Any, training: Any) -> bool:
    if isinstance(training, TrainingPreset):
        return training.bf16
    if isinstance(training, Mapping):
        return training.get("bf16", True) is True
    return str(preset) in PRESETS and PRESETS[str(preset)].bf16
