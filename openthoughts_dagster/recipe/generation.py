"""Settings of generation: shards, commits, and the expected length and speed of answers."""

from pydantic import Field

from openthoughts_dagster.recipe.fields import Positive, RecipeModel


class Sharding(RecipeModel):
    """How much of a partition one engine answers. Without a target a partition is one shard, as suits one machine."""

    tokens: Positive | None = Field(None, description="Completion tokens that one shard is expected to generate.")
    minutes: Positive | None = Field(
        None, description="Minutes that one shard is expected to take, at the speed measured before or given below."
    )
    most: Positive = Field(256, description="Never more shards than this for one partition.")


class CommitBudget(RecipeModel):
    """How often completions are committed: after so many seconds or megabytes, whichever comes first."""

    seconds: float = Field(15, gt=0, description="Longest time that a finished completion waits for its commit.")
    megabytes: float = Field(64, gt=0, description="Most text that waits for a commit.")


class Expectations(RecipeModel):
    """What a model is expected to do, used until the ledger holds measurements of its own."""

    completion_tokens: Positive | None = Field(None, description="Tokens of one completion; else max_tokens.")
    tokens_per_second: float | None = Field(
        None, gt=0, description="Completion tokens per second of one engine, all its accelerators together."
    )
