"""The kinds of partitions: their keys, and the columns of tables whose values a key holds."""

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import dagster as dg

from openthoughts_dagster.recipe import Recipe
from openthoughts_dagster.studies import arm_keys, student_keys

SOURCE, TEACHER = "source", "teacher"

sources = dg.DynamicPartitionsDefinition(name=SOURCE)


def cells(recipe: Recipe) -> dg.MultiPartitionsDefinition:
    """Combine every source with every teacher. Teachers are static, since adding one is a reviewed change."""
    teachers = dg.StaticPartitionsDefinition([teacher.name for teacher in recipe.teachers])
    return dg.MultiPartitionsDefinition({SOURCE: sources, TEACHER: teachers})


def cell(key: str) -> tuple[str, str]:
    """Split the partition key of a cell into source and teacher. Their names are slugs, which have no '|'."""
    source, teacher = key.split("|")
    return source, teacher


@dataclass(frozen=True)
class PartitionKind:
    """One way of partitioning assets.

    Attributes:
        columns: The columns of the assets' tables whose values name a partition.
        definition: Makes Dagster's definition for a recipe; None for assets without partitions.
        keys: Lists all partitions that should exist, for a recipe and the names of all sources.
        labels: Splits a key into the values of `columns`.
        key: Makes a key of values, the inverse of `labels`. A partition finds the partition of an input by it.
    """

    columns: tuple[str, ...]
    definition: Callable[[Recipe], dg.PartitionsDefinition[Any] | None]
    keys: Callable[[Recipe, Sequence[str]], list[str]]
    labels: Callable[[str], dict[str, str]]
    key: Callable[[Mapping[str, str]], str]

    def known(self, recipe: Recipe, instance: dg.DagsterInstance) -> list[str]:
        """List the keys of all partitions that should exist, for the recipe and the sources of the instance."""
        return self.keys(recipe, instance.get_dynamic_partitions(str(sources.name)))

    def labels_in(self, recipe: Recipe, key: str) -> dict[str, str]:
        """Split a key into labels. Raises UnknownNameError for a source or teacher that the recipe no longer has."""
        labels = self.labels(key)
        if SOURCE in labels:
            recipe.source(labels[SOURCE])
        if TEACHER in labels:
            recipe.teacher(labels[TEACHER])
        return labels

    def reads_one(self, parent: "PartitionKind") -> bool:
        """Whether a partition of this kind is made from exactly one partition of `parent`."""
        return bool(parent.columns) and set(parent.columns) <= set(self.columns)


def static_kind(column: str, names: Callable[[Recipe], Sequence[str]]) -> PartitionKind:
    """Make partitions for names of the recipe, such as teachers or the arms of a study. `column` has the name."""
    return PartitionKind(
        columns=(column,),
        definition=lambda recipe: dg.StaticPartitionsDefinition(list(names(recipe))),
        keys=lambda recipe, _: list(names(recipe)),
        labels=lambda key: {column: key},
        key=lambda labels: labels[column],
    )


UNPARTITIONED = PartitionKind((), lambda _: None, lambda *_: [], lambda _: {}, lambda _: "")

BY_SOURCE = PartitionKind(
    columns=(SOURCE,),
    definition=lambda _: sources,
    keys=lambda _, names: list(names),
    labels=lambda key: {SOURCE: key},
    key=lambda labels: labels[SOURCE],
)

BY_CELL = PartitionKind(
    columns=(SOURCE, TEACHER),
    definition=cells,
    keys=lambda recipe, names: [
        dg.MultiPartitionKey({SOURCE: name, TEACHER: teacher.name}) for name in names for teacher in recipe.teachers
    ],
    labels=lambda key: dict(zip((SOURCE, TEACHER), cell(key), strict=True)),
    key=lambda labels: dg.MultiPartitionKey({SOURCE: labels[SOURCE], TEACHER: labels[TEACHER]}),
)

BY_ARM = static_kind("arm", arm_keys)
BY_ARM_STUDENT = static_kind("arm_student", student_keys)
BY_STUDY = static_kind("study", lambda recipe: [study.name for study in recipe.studies])
BY_REFERENCE = static_kind("compared_model", lambda recipe: list(recipe.references()))
BY_TEACHER = static_kind(TEACHER, lambda recipe: [teacher.name for teacher in recipe.teachers])


def every_source(_: Recipe) -> dg.PartitionMapping:
    """Map all sources to every arm. The design of an arm says which of them it reads."""
    return dg.AllPartitionMapping()


def students_of_arms(recipe: Recipe) -> dg.PartitionMapping:
    """Map each arm to the students that read it: STUDY.ARM to STUDY.ARM.SEED."""
    return dg.StaticPartitionMapping({key: _below(key, student_keys(recipe)) for key in arm_keys(recipe)})


def studies_of_students(recipe: Recipe) -> dg.PartitionMapping:
    """Map each student to the study that reads it: STUDY.ARM.SEED to STUDY."""
    return dg.StaticPartitionMapping({key: key.split(".")[0] for key in student_keys(recipe)})


def answers_of_teacher(_: Recipe) -> dg.PartitionMapping:
    """Map every cell of a teacher to the release of that teacher."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*MultiToSingleDimensionPartitionMapping", category=dg.BetaWarning)
        return dg.MultiToSingleDimensionPartitionMapping(partition_dimension_name=TEACHER)


def _below(key: str, keys: Sequence[str]) -> list[str]:
    return [each for each in keys if each.rpartition(".")[0] == key]
