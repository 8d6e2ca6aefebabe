"""The recipe: everything that decides a dataset, as one value."""

from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

from pydantic import Field, PrivateAttr, model_validator

from openthoughts_dagster.recipe.benchmarks import Evaluation
from openthoughts_dagster.recipe.fields import Positive, RecipeModel, Slug
from openthoughts_dagster.recipe.models import Judge, Student, Teacher
from openthoughts_dagster.recipe.questions import AnswerFilter, Decontamination, DomainQuestions, Score
from openthoughts_dagster.recipe.sources import Source, SourceBase, resolve_path

_Named = TypeVar("_Named", SourceBase, Teacher, Judge)


def _one_name_each(kind: str, names: list[str]) -> list[str]:
    repeated = sorted({name for name in names if names.count(name) > 1})
    return [f"{kind}: the name {name!r} is given {names.count(name)} times; names are keys" for name in repeated]


class Recipe(RecipeModel):
    """Which questions, scored and filtered how, answered by which teachers how often, and what proves it."""

    name: Slug = Field(description="Name of the recipe.")
    description: str = Field(description="What it is for.")
    seed: int = Field(42, description="Seed of row sampling.")
    sources: list[Source] = Field(min_length=1, description="Question sources, one partition each.")
    judges: list[Judge] = Field(default=[], description="Models that score questions.")
    scores: list[Score] = Field(default=[], description="Scores that every question gets.")
    domains: dict[Slug, DomainQuestions] = Field(
        default={},
        description="Selection and dedup by domain; a domain without an entry keeps all, deduplicated exactly.",
    )
    decontamination: Decontamination = Field(default=Decontamination(), description="When a question counts as leaked.")
    teachers: list[Teacher] = Field(min_length=1, description="Models that answer, one partition each.")
    answers_per_question: Positive = Field(16, description="Sampled answers per question.")
    answer_filter: AnswerFilter = Field(default=AnswerFilter(), description="Which answers a student may train on.")
    student: Student = Field(description="The model fine-tuned on the answers.")
    evaluation: Evaluation = Field(description="What scores the students.")
    tiny_models: str | None = Field(
        None, description="Folder where the quickstart's own tiny models are trained on first use; absent elsewhere."
    )

    _folder: Path = PrivateAttr(default=Path())

    @property
    def folder(self) -> Path:
        """Folder of the recipe's file, where its relative paths start."""
        return self._folder

    def path(self, path: str) -> str:
        """A path of this recipe, made absolute; URLs stay."""
        return resolve_path(path, self._folder)

    def source(self, name: str) -> Source:
        """The source called `name`. Raises KeyError naming the recipe's sources."""
        return _named(self.sources, name, "source", self.name)

    def teacher(self, name: str) -> Teacher:
        """The teacher called `name`. Raises KeyError naming the recipe's teachers."""
        return _named(self.teachers, name, "teacher", self.name)

    def judge(self, name: str) -> Judge:
        """The judge called `name`. Raises KeyError naming the recipe's judges."""
        return _named(self.judges, name, "judge", self.name)

    def domain(self, name: str) -> DomainQuestions:
        """Selection and dedup settings of a domain, the defaults when it has no entry."""
        return self.domains.get(name, DomainQuestions())

    def scores_for(self, domain: str) -> list[Score]:
        """The scores that questions of `domain` get."""
        return [score for score in self.scores if score.domains is None or domain in score.domains]

    @model_validator(mode="after")
    def _references_exist(self) -> "Recipe":
        problems = (
            _one_name_each("sources", [source.name for source in self.sources])
            + _one_name_each("teachers", [teacher.name for teacher in self.teachers])
            + _one_name_each("judges", [judge.name for judge in self.judges])
            + _one_name_each("scores", [score.name for score in self.scores])
            + _one_name_each("evaluation.benchmarks", [benchmark.name for benchmark in self.evaluation.benchmarks])
        )
        judges = {judge.name for judge in self.judges}
        for score in self.scores:
            judge = getattr(score, "judge", None)
            if judge is not None and judge not in judges:
                problems.append(f"scores.{score.name}.judge: no judge is called {judge!r}; judges: {sorted(judges)}")
        used = {source.domain for source in self.sources}
        for domain, settings in self.domains.items():
            if domain not in used:
                problems.append(f"domains.{domain}: no source has this domain; sources have {sorted(used)}")
            elif settings.selection is not None:
                names = {score.name for score in self.scores_for(domain)}
                if settings.selection.by not in names:
                    problems.append(
                        f"domains.{domain}.selection.by: questions of this domain have no score "
                        f"{settings.selection.by!r}; they have {sorted(names)}"
                    )
        if problems:
            raise ValueError("\n".join(problems))
        return self


def _named(items: Sequence[_Named], name: str, kind: str, recipe: str) -> _Named:
    for item in items:
        if item.name == name:
            return item
    raise KeyError(f"recipe {recipe!r} has no {kind} {name!r}; it has {[item.name for item in items]}")
