"""The recipe: all settings that decide a data set, in one value."""

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from pydantic import Field, PrivateAttr

from openthoughts_dagster.recipe.answers import AnswerFilter, KeepAllAnswers
from openthoughts_dagster.recipe.automation import Automation
from openthoughts_dagster.recipe.benchmarks import Evaluation
from openthoughts_dagster.recipe.engines import PUBLISHED
from openthoughts_dagster.recipe.fields import Positive, RecipeModel, Slug
from openthoughts_dagster.recipe.lock import HubReference, Lock
from openthoughts_dagster.recipe.models import Judge, ModelReference, Student, Teacher
from openthoughts_dagster.recipe.places import restore_variables
from openthoughts_dagster.recipe.questions import Decontamination, DomainQuestions, Score
from openthoughts_dagster.recipe.release import Release
from openthoughts_dagster.recipe.sources import Source, resolve_path
from openthoughts_dagster.recipe.studies import Study

DATASET_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
"""Owner and name of a data set of the hub; a relative path may look the same."""
UNTRAINED = "untrained"
"""The name under which the student before training is compared with others."""

_Named = TypeVar("_Named", Source, Teacher, Judge)


class UnknownNameError(KeyError):
    """The recipe has no source, teacher or judge of this name; the message lists those that it has."""

    def __str__(self) -> str:  # a KeyError shows the repr of its message
        return str(self.args[0])


class Recipe(RecipeModel):
    """A data set's recipe: sources of questions, scores and filters, teachers, the student and its benchmarks."""

    name: Slug = Field(description="Name of the recipe.")
    description: str = Field(description="What the recipe is for.")
    seed: int = Field(42, description="Seed of row sampling.")
    sources: list[Source] = Field(
        min_length=1,
        description="Sources of questions, each a partition: a block, or the name of a source in the catalogue.",
    )
    catalogue: list[Source] = Field(
        default=[],
        description="Sources that are only described: they have no partition and no run until `sources` names them.",
    )
    judges: list[Judge] = Field(default=[], description="Models that score questions.")
    scores: list[Score] = Field(default=[], description="Scores that every question gets.")
    domains: dict[Slug, DomainQuestions] = Field(
        default={},
        description="Selection and dedup by domain; a domain without an entry only drops exact duplicates.",
    )
    decontamination: Decontamination = Field(default=Decontamination(), description="When a question counts as leaked.")
    teachers: list[Teacher] = Field(min_length=1, description="Models that answer questions, each a partition.")
    answers_per_question: Positive = Field(16, description="Sampled answers per question.")
    missing_answers: float = Field(
        0.01,
        ge=0,
        le=1,
        description="Share of a partition's answers that may be missing because their requests failed; with more of "
        "them the partition fails. Each is in rejected_answers with its reason.",
    )
    answer_filter: AnswerFilter = Field(default=KeepAllAnswers(), description="Which answers a student may train on.")
    student: Student = Field(description="The model that is fine-tuned on the answers.")
    evaluation: Evaluation = Field(description="Benchmarks that score the students.")
    studies: list[Study] = Field(
        default=[], description="Controlled comparisons of variants of this recipe; `- include: studies.yaml` works."
    )
    release: Release | None = Field(None, description="The data set that is published; absent: none is made.")
    automation: Automation = Field(default=Automation(), description="Schedules on which work starts by itself.")
    tiny_models: str | None = Field(
        None,
        description="Folder in which the quickstart trains its tiny models on first use; other recipes leave it out.",
    )

    _folder: Path = PrivateAttr(default=Path())
    _landed: Callable[[str], Source | None] | None = PrivateAttr(default=None)
    _copies: Path | None = PrivateAttr(default=None)
    _lock: Lock | None = PrivateAttr(default=None)
    _places: dict[str, str] = PrivateAttr(default={})

    @property
    def folder(self) -> Path:
        """The folder of the recipe's file, at which its relative paths start."""
        return self._folder

    def path(self, path: str) -> str:
        """Make a path of this recipe absolute.

        Args:
            path: A path relative to the recipe's folder, an absolute path, a URL, or the id of a data set of the hub.

        Returns:
            The absolute path. A URL is unchanged. The id of a data set becomes the path of its copy, if there is one.
        """
        resolved = resolve_path(path, self._folder)
        if self._copies is None or not DATASET_ID.fullmatch(path) or Path(resolved).exists():
            return resolved
        copy = self._copies / path
        return str(copy) if copy.is_dir() else resolved

    def restore_variables(self, value: Any) -> Any:
        """Return settings of this recipe with ${OPENTHOUGHTS_FILES} and the like where its text has them.

        Args:
            value: Settings as plain values, as `identity_of` returns them.

        Returns:
            The settings, which are equal wherever the data lie.
        """
        return restore_variables(value, self._places)

    def locked_commit(self, dataset: str, revision: str | None) -> str | None:
        """Return the commit of a data set of the hub that the recipe's lock file names.

        Args:
            dataset: The id of the data set.
            revision: The branch or tag that the recipe names, if it names one.

        Returns:
            The commit; None when there is no lock file or when it lacks the data set.
        """
        return self._lock.commit(HubReference("dataset", dataset, revision)) if self._lock else None

    def with_copies(self, folder: Path | None) -> "Recipe":
        """Return this recipe with copies of the hub's data sets.

        Args:
            folder: A folder that contains each copy at the data set's id; None for no copies.
        """
        recipe = self.model_copy()
        recipe._copies = folder
        return recipe

    def with_landed(self, find: Callable[[str], Source | None]) -> "Recipe":
        """Return this recipe with the sources that landed beside it.

        Args:
            find: Returns the landed source of a name, or None.
        """
        recipe = self.model_copy()
        recipe._landed = find
        return recipe

    def source(self, name: str) -> Source:
        """Return the source called `name`, of the recipe or landed beside it.

        Raises:
            UnknownNameError: There is no such source; the message lists the recipe's sources.
        """
        if self._landed and all(source.name != name for source in self.sources) and (landed := self._landed(name)):
            return landed
        return _find_named(self.sources, name, "source", self.name)

    def teacher(self, name: str) -> Teacher:
        """Return the teacher called `name`; published answers are read from their copy, if there is one.

        Raises:
            UnknownNameError: There is no such teacher; the message lists the recipe's teachers.
        """
        teacher = _find_named(self.teachers, name, "teacher", self.name)
        if teacher.engine != PUBLISHED or not Path(copy := self.path(teacher.model)).is_dir():
            return teacher
        return teacher.model_copy(update={"model": str(Path(copy).absolute())})

    def judge(self, name: str) -> Judge:
        """Return the judge called `name`.

        Raises:
            UnknownNameError: There is no such judge; the message lists the recipe's judges.
        """
        return _find_named(self.judges, name, "judge", self.name)

    def references(self) -> dict[str, ModelReference]:
        """Return the models that students are compared with, by name: the untrained student, teachers and others.

        A teacher whose answers are published is left out, since nobody can ask it the benchmarks.
        """
        asked = [teacher for teacher in self.teachers if teacher.engine != PUBLISHED]
        named: list[ModelReference] = [*asked, *self.evaluation.references]
        return {UNTRAINED: self.student.for_scoring()} | {model.name: model for model in named}

    def domain(self, name: str) -> DomainQuestions:
        """Return the selection and dedup settings of a domain; the defaults when it has no entry."""
        return self.domains.get(name, DomainQuestions())

    def scores_for(self, domain: str) -> list[Score]:
        """Return the scores that questions of `domain` get."""
        return [score for score in self.scores if score.domains is None or domain in score.domains]

    def length_score(self, domain: str) -> str | None:
        """Return the name of the score of method response_length for `domain`; None when there is none."""
        return next((score.name for score in self.scores_for(domain) if score.method == "response_length"), None)


def _find_named(items: Sequence[_Named], name: str, kind: str, recipe: str) -> _Named:
    for item in items:
        if item.name == name:
            return item
    known = ", ".join(item.name for item in items) or "none"
    raise UnknownNameError(
        f"recipe {recipe!r} has no {kind} {name!r}; it has {known}. Where this "
        f"is about a partition, its {kind} was taken out of the recipe or renamed: its data is kept, and it can be "
        f"materialized again once the {kind} is back"
    )
