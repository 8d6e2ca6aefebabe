"""The settings of benchmarks and of the evaluation of students."""

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal

from pydantic import Field

from openthoughts_dagster.recipe.fields import Positive, Problem, RecipeModel, Slug
from openthoughts_dagster.recipe.identity import Identity
from openthoughts_dagster.recipe.models import Reference, Sampling
from openthoughts_dagster.recipe.paper_benchmarks import PAPER_BENCHMARKS, PaperData, PaperTask

Match = Literal["auto", "exact", "number", "math", "choice"]


class BenchmarkBase(RecipeModel):
    """The settings that every kind of benchmark has."""

    name: Slug = Field(description="Name in tables and plots.")
    role: Literal["dev", "held_out"] = Field(
        "dev", description="dev: rankings and decisions use it. held_out: it is scored and shown, and decides nothing."
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
        description="Questions that decontamination compares with: dataset:split:column, dataset(subset):split:column "
        "with dots for nested columns, or a file such as JSON Lines, with :column where the column is not question.",
    )
    revision: Annotated[str | None, Identity.UNLESS_DEFAULT] = Field(
        None, description="Commit of the task's data set; the one that lighteval names, or the newest, when absent."
    )


class FileBenchmark(BenchmarkBase):
    """A file of your own questions with answers, run as a lighteval task."""

    kind: Literal["file"] = Field(description="A JSON Lines file with question and answer.")
    path: str = Field(description="JSON Lines file; relative paths start at the recipe's folder.")
    match: Match = Field(
        "auto",
        description="How answers are compared: number (27, 27.0, 54/2 and 2,700% are equal), math (expressions, by "
        "math-verify), choice (letters), exact (texts, without box, emphasis and letter case), or auto: number where "
        "the reference is one, choice where it is letters such as B or BD, else exact.",
    )


class ProgramsBenchmark(BenchmarkBase):
    """Programming problems: the students' programs run against tests in confinement."""

    kind: Literal["programs"] = Field(description="A JSON Lines file of programming problems with tests.")
    path: str = Field(
        description="JSON Lines file with HumanEval's fields (prompt, entry_point, test; where a field question is "
        "there, it is asked, and the answer continues the prompt), or with question and tests: a list of input and "
        "output, as texts of a program or, with a field function, arguments and result."
    )
    seconds: float = Field(10.0, gt=0, description="Longest time of one test, wall clock and processor alike.")
    memory_megabytes: Positive = Field(1024, description="Memory of one program.")


class PaperBenchmark(BenchmarkBase):
    """One of the twelve benchmarks of the OpenThoughts3 paper."""

    kind: Literal["paper"] = Field(
        description="A benchmark of the OpenThoughts3 paper, asked and scored as in the paper."
    )
    task: PaperTask = Field(description="Name of the benchmark.")
    prompt: Literal["paper", "lighteval"] = Field(
        "paper",
        description="Whose prompt and scoring: the paper's, which are evalchemy's, or lighteval's own. lighteval has "
        "none for jeebench, hle-multiple-choice, codeelo and codeforces. It is part of the name of the metric.",
    )
    dataset: str | None = Field(
        None,
        description="Another data set of the same shape: a hub id or a folder; relative paths start at the recipe's "
        "folder. The table in docs/evaluation.md says which one is read when absent.",
    )
    revision: str | None = Field(
        None, description="Commit, tag or branch of the data set; a copy in a folder must be of a pinned commit."
    )
    size: Positive | None = Field(
        None,
        description="Items that the data set must have, since another number is another benchmark; the paper's when "
        "absent.",
    )

    @classmethod
    def problems(cls, raw: Mapping[str, Any]) -> Iterator[Problem]:
        """Find a prompt that the benchmark does not have."""
        task, prompt = raw.get("task"), raw.get("prompt", "paper")
        known = PAPER_BENCHMARKS.get(task) if isinstance(task, str) else None  # type: ignore[call-overload]
        if known is not None and prompt == "lighteval" and prompt not in known.prompts:
            yield (
                ("prompt",),
                f"lighteval has no prompt and scoring of its own for {task} that needs no paid judge; use paper",
            )

    @property
    def data(self) -> PaperData:
        """The data set and the prompts of the benchmark."""
        return PAPER_BENCHMARKS[self.task]

    @property
    def questions(self) -> str:
        """The address of its questions, as dataset:split:column."""
        return f"{self.dataset or self.data.dataset}:{self.data.split}:{self.data.question[0]}"


Benchmark = Annotated[
    LightevalBenchmark | FileBenchmark | ProgramsBenchmark | PaperBenchmark, Field(discriminator="kind")
]


class Evaluation(RecipeModel):
    """How students are scored."""

    benchmarks: list[Benchmark] = Field(min_length=1, description="The benchmarks; each has a name.")
    sampling: Sampling = Field(
        default=Sampling(temperature=0.7, max_tokens=32768), description="How students answer benchmarks."
    )
    references: Annotated[list[Reference], Identity.NEVER] = Field(
        default=[],
        description="Models that answer the benchmarks for comparison, beside the untrained student and the teachers. "
        "A person starts them: the asset reference_scores has a partition for each.",
    )
    missing_answers: float = Field(
        0.01,
        ge=0,
        le=1,
        description="Share of a benchmark's answers that may be missing because their requests failed; they count as "
        "wrong. With more of them nothing is published: materialize again to ask only for these.",
    )
    confinement: Literal["auto", "bubblewrap", "landlock", "pod", "none"] = Field(
        "auto",
        description="How programs that students write are confined: auto takes the best way that the machine allows. "
        "pod starts pods without network and token, with the runtime class of the cluster's settings. "
        "none runs them with all rights of this process.",
    )
