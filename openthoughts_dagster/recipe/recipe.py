"""The recipe: everything that decides a dataset, as one value."""

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from pydantic import Field, PrivateAttr

from openthoughts_dagster.recipe.answers import AnswerFilter, KeepAllAnswers
from openthoughts_dagster.recipe.automation import Automation
from openthoughts_dagster.recipe.benchmarks import Evaluation
from openthoughts_dagster.recipe.fields import Positive, RecipeModel, Slug
from openthoughts_dagster.recipe.models import Judge, Student, Teacher
from openthoughts_dagster.recipe.questions import Decontamination, DomainQuestions, Score
from openthoughts_dagster.recipe.sources import Source, resolve_path
from openthoughts_dagster.recipe.studies import Study

DATASET_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
"""Owner and name of a data set of the hub; a relative path may look the same."""

_Named = TypeVar("_Named", Source, Teacher, Judge)


class UnknownNameError(KeyError):
    """A source, teacher or judge that the recipe does not have: which, and which there are."""

    def __str__(self) -> str:  # a KeyError shows the repr of its message
        return str(self.args[0])


class Recipe(RecipeModel):
    """Which questions, scored and filtered how, answered by which teachers how often, and what proves it."""

    name: Slug = Field(description="Name of the recipe.")
    description: str = Field(description="What it is for.")
    seed: int = Field(42, description="Seed of row sampling.")
    sources: list[Source] = Field(
        min_length=1, description="Question sources, one partition each: blocks, or names of sources in the catalogue."
    )
    catalogue: list[Source] = Field(
        default=[],
        description="Sources that are described and not read: no partition, no run, until `sources` names them.",
    )
    judges: list[Judge] = Field(default=[], description="Models that score questions.")
    scores: list[Score] = Field(default=[], description="Scores that every question gets.")
    domains: dict[Slug, DomainQuestions] = Field(
        default={},
        description="Selection and dedup by domain; a domain without an entry keeps all, deduplicated exactly.",
    )
    decontamination: Decontamination = Field(default=Decontamination(), description="When a question counts as leaked.")
    teachers: list[Teacher] = Field(min_length=1, description="Models that answer, one partition each.")
    answers_per_question: Positive = Field(16, description="Sampled answers per question.")
    missing_answers: float = Field(
        0.01,
        ge=0,
        le=1,
        description="Share of a partition's answers that may be missing because their requests failed; with more of "
        "them the partition fails. Each is in rejected_answers with its reason.",
    )
    answer_filter: AnswerFilter = Field(default=KeepAllAnswers(), description="Which answers a student may train on.")
    student: Student = Field(description="The model fine-tuned on the answers.")
    evaluation: Evaluation = Field(description="What scores the students.")
    studies: list[Study] = Field(
        default=[], description="Controlled comparisons of variants of this recipe; `- include: studies.yaml` works."
    )
    automation: Automation = Field(default=Automation(), description="What is done without anybody asking.")
    tiny_models: str | None = Field(
        None, description="Folder where the quickstart's own tiny models are trained on first use; absent elsewhere."
    )

    _folder: Path = PrivateAttr(default=Path())
    _landed: Callable[[str], Source | None] | None = PrivateAttr(default=None)
    _copies: Path | None = PrivateAttr(default=None)

    @property
    def folder(self) -> Path:
        """Folder of the recipe's file, where its relative paths start."""
        return self._folder

    def path(self, path: str) -> str:
        """A path of this recipe, made absolute; URLs stay. The id of a data set gives its copy, where there is one."""
        resolved = resolve_path(path, self._folder)
        if self._copies is None or not DATASET_ID.fullmatch(path) or Path(resolved).exists():
            return resolved
        copy = self._copies / path
        return str(copy) if copy.is_dir() else resolved

    def with_copies(self, folder: Path | None) -> "Recipe":
        """The recipe where `path` finds copies of the hub's data sets, each at its id below `folder`."""
        recipe = self.model_copy()
        recipe._copies = folder
        return recipe

    def with_landed(self, find: Callable[[str], Source | None]) -> "Recipe":
        """The recipe with sources that landed beside it: `find` gives one by name, or None."""
        recipe = self.model_copy()
        recipe._landed = find
        return recipe

    def source(self, name: str) -> Source:
        """The source called `name`, of the recipe or landed. Raises UnknownNameError, which lists the recipe's."""
        if self._landed and all(source.name != name for source in self.sources) and (landed := self._landed(name)):
            return landed
        return _named(self.sources, name, "source", self.name)

    def teacher(self, name: str) -> Teacher:
        """The teacher called `name`. Raises UnknownNameError, which lists the recipe's teachers."""
        return _named(self.teachers, name, "teacher", self.name)

    def judge(self, name: str) -> Judge:
        """The judge called `name`. Raises UnknownNameError, which lists the recipe's judges."""
        return _named(self.judges, name, "judge", self.name)

    def domain(self, name: str) -> DomainQuestions:
        """Selection and dedup settings of a domain, the defaults when it has no entry."""
        return self.domains.get(name, DomainQuestions())

    def scores_for(self, domain: str) -> list[Score]:
        """The scores that questions of `domain` get."""
        return [score for score in self.scores if score.domains is None or domain in score.domains]

    def length_score(self, domain: str) -> str | None:
        """Name of the score that says how long a judge's answers to questions of `domain` are, if there is one."""
        return next((score.name for score in self.scores_for(domain) if score.method == "response_length"), None)


def _named(items: Sequence[_Named], name: str, kind: str, recipe: str) -> _Named:
    for item in items:
        if item.name == name:
            return item
    known = ", ".join(item.name for item in items) or "none"
    raise UnknownNameError(
        f"recipe {recipe!r} has no {kind} {name!r}; it has {known}. Where this "
        f"is about a partition, its {kind} was taken out of the recipe or renamed: its data is kept, and it can be "
        f"materialized again once the {kind} is back"
    )
