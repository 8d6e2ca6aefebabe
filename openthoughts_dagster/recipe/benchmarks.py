"""Which benchmarks score the students."""

from typing import Annotated, Literal

from pydantic import Field

from openthoughts_dagster.recipe.fields import Positive, RecipeModel, Slug
from openthoughts_dagster.recipe.models import Sampling


class BenchmarkBase(RecipeModel):
    """What every benchmark has."""

    name: Slug = Field(description="Name in tables and plots.")
    repeats: Positive = Field(1, description="Sampled answers per item; small benchmarks need several.")
    items: Positive | None = Field(None, description="Use only the first items; all when absent.")


class LightevalBenchmark(BenchmarkBase):
    """A task that lighteval ships."""

    kind: Literal["lighteval"] = Field(description="A task of lighteval.")
    task: str = Field(description="lighteval's task, e.g. 'aime24' or 'aime24|0' (task|few-shot examples).")
    questions: str | None = Field(
        None,
        description="Hub dataset as dataset:split:column, or a JSON Lines file, that decontamination compares with.",
    )


class FileBenchmark(BenchmarkBase):
    """Questions of one's own with exact answers, run as a lighteval task."""

    kind: Literal["file"] = Field(description="A JSON Lines file with question and answer.")
    path: str = Field(description="JSON Lines file; relative paths start at the recipe's folder.")


Benchmark = Annotated[LightevalBenchmark | FileBenchmark, Field(discriminator="kind")]


class Evaluation(RecipeModel):
    """How students are scored."""

    benchmarks: list[Benchmark] = Field(min_length=1, description="Benchmarks, by name.")
    sampling: Sampling = Field(
        default=Sampling(temperature=0.7, max_tokens=32768), description="How students answer benchmarks."
    )
