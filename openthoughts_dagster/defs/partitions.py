"""The kinds of partitions: their keys, and the columns of tables that a key stands for."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import dagster as dg

from openthoughts_dagster.recipe import Recipe
from openthoughts_dagster.studies import arm_keys, student_keys

SOURCE, TEACHER = "source", "teacher"

sources = dg.DynamicPartitionsDefinition(name=SOURCE)


def cells(recipe: Recipe) -> dg.MultiPartitionsDefinition:
    """Every source with every teacher of the recipe. Teachers are static: adding one is a reviewed change."""
    teachers = dg.StaticPartitionsDefinition([teacher.name for teacher in recipe.teachers])
    return dg.MultiPartitionsDefinition({SOURCE: sources, TEACHER: teachers})


def cell(key: str) -> tuple[str, str]:
    """Source and teacher of a cell's partition key; names are slugs, so that '|' is only between them."""
    source, teacher = key.split("|")
    return source, teacher


@dataclass(frozen=True)
class PartitionKind:
    """One way of partitioning assets.

    `columns` are the columns of the assets' tables that a partition is the rows of. `labels` splits a key into the
    values of those columns, and `key` makes the key of them again, so that a partition of one kind finds the partition
    of another that it is made from. `keys` lists all partitions that should exist.
    """

    columns: tuple[str, ...]
    definition: Callable[[Recipe], dg.PartitionsDefinition[Any] | None]
    keys: Callable[[Recipe, Sequence[str]], list[str]]
    labels: Callable[[str], dict[str, str]]
    key: Callable[[Mapping[str, str]], str]

    def known(self, recipe: Recipe, instance: dg.DagsterInstance) -> list[str]:
        """The keys of all partitions that the recipe and the instance's sources make up."""
        return self.keys(recipe, instance.get_dynamic_partitions(str(sources.name)))

    def labels_in(self, recipe: Recipe, key: str) -> dict[str, str]:
        """The labels of a key. Raises UnknownNameError for a source or teacher that the recipe has no more."""
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
    """Partitions by names that come with the recipe, such as teachers or a study's arms; `column` holds the name."""
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
BY_TEACHER = static_kind(TEACHER, lambda recipe: [teacher.name for teacher in recipe.teachers])


def students_of_arms(recipe: Recipe) -> dg.PartitionMapping:
    """Each arm is read by its students: STUDY.ARM by STUDY.ARM.SEED."""
    return dg.StaticPartitionMapping({key: _below(key, student_keys(recipe)) for key in arm_keys(recipe)})


def studies_of_students(recipe: Recipe) -> dg.PartitionMapping:
    """Each student is read by its study: STUDY.ARM.SEED by STUDY."""
    return dg.StaticPartitionMapping({key: key.split(".")[0] for key in student_keys(recipe)})


def _below(key: str, keys: Sequence[str]) -> list[str]:
    return [each for each in keys if each.rpartition(".")[0] == key]
