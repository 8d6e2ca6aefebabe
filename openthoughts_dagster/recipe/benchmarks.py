"""Which benchmarks score the students."""

from typing import Annotated, Literal

from pydantic import Field

from openthoughts_dagster.recipe.fields import Positive, RecipeModel, Slug
from openthoughts_dagster.recipe.models import Sampling

Match = Literal["auto", "exact", "number", "math", "choice"]


class BenchmarkBase(RecipeModel):
    """What every benchmark has."""

    name: Slug = Field(description="Name in tables and plots.")
    role: Literal["dev", "held_out"] = Field(
        "dev", description="dev: rankings are made of it. held_out: scored and shown, never used to decide."
    )
    repeats: Positive = Field(1, description="Sampled answers per item; small benchmarks need several.")
    items: Positive | None = Field(None, description="Use only the first items; all when absent.")


class LightevalBenchmark(BenchmarkBase):
    """A task that lighteval ships."""

    kind: Literal["lighteval"] = Field(description="A task of lighteval.")
    task: str = Field(description="lighteval's task, e.g. 'aime24' or 'aime24|0' (task|few-shot examples).")
    match: Match | None = Field(
        None, description="How answers are compared, as for a file; the task's own metric when absent."
    )
    questions: str | None = Field(
        None,
        description="Hub dataset as dataset:split:column, or a JSON Lines file, that decontamination compares with.",
    )


class FileBenchmark(BenchmarkBase):
    """Questions of one's own with answers, run as a lighteval task."""

    kind: Literal["file"] = Field(description="A JSON Lines file with question and answer.")
    path: str = Field(description="JSON Lines file; relative paths start at the recipe's folder.")
    match: Match = Field(
        "auto",
        description="How answers are compared: number (27, 27.0, 54/2 and 2,700% are equal), math (expressions, by "
        "math-verify), choice (letters), exact (texts, without box, emphasis and letter case), or auto: number where "
        "the reference is one, choice where it is capital letters, else exact.",
    )


class ProgramsBenchmark(BenchmarkBase):
    """Programs that students write, run against tests in confinement."""

    kind: Literal["programs"] = Field(description="A JSON Lines file of programming problems with tests.")
    path: str = Field(
        description="JSON Lines file with HumanEval's fields (prompt, entry_point, test), or with question and tests: "
        "a list of input and output, as texts of a program or, with a field function, arguments and result."
    )
    seconds: float = Field(10.0, gt=0, description="Longest time of one test, wall clock and processor alike.")
    memory_megabytes: Positive = Field(1024, description="Memory of one program.")


Benchmark = Annotated[LightevalBenchmark | FileBenchmark | ProgramsBenchmark, Field(discriminator="kind")]


class Evaluation(RecipeModel):
    """How students are scored."""

    benchmarks: list[Benchmark] = Field(min_length=1, description="Benchmarks, by name.")
    sampling: Sampling = Field(
        default=Sampling(temperature=0.7, max_tokens=32768), description="How students answer benchmarks."
    )
    missing_answers: float = Field(
        0.01,
        ge=0,
        le=1,
        description="Share of a benchmark's answers that may be missing because their requests failed; they count as "
        "wrong. With more of them nothing is published: materialize again to ask only for these.",
    )
    confinement: Literal["auto", "bubblewrap", "landlock", "none"] = Field(
        "auto",
        description="How programs that students write are confined: auto takes the best way that the machine allows. "
        "none runs them with all rights of this process.",
    )
