"""Versions of a study: what it asks with every setting that decides its results, frozen when its first student starts.

A report never mixes students of different versions, because they answer different questions.
"""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import polars as pl

from openthoughts_dagster.lake import ARM_STUDENTS, STUDY_VERSIONS, Lake, value_hash
from openthoughts_dagster.recipe import Recipe, identity_of
from openthoughts_dagster.recipe.studies import Study
from openthoughts_dagster.studies.arms import StudyError, split_key, study_named
from openthoughts_dagster.studies.settings import deciding_settings

_OF_THE_ARMS = ("base", "arms", "grid")
_NO_RESULT = ("price_limit",)  # it stops a study, and changes no student


def study_version(recipe: Recipe, study: Study) -> str:
    """Return a short hash of what a study asks: its question, and every setting that decides an arm's students.

    Settings of the recipe that no arm uses are no part of it, such as a teacher that was added. If the sources come
    from a ranking, the ranking is not part of it either.
    """
    own = {name: value for name, value in identity_of(study).items() if name not in (*_OF_THE_ARMS, *_NO_RESULT)}
    arms = {name: deciding_settings(recipe, settings) for name, settings in study.variants().items()}
    evaluation = {name: value for name, value in identity_of(recipe.evaluation).items() if name != "confinement"}
    asked = {"study": own, "arms": arms, "evaluation": evaluation}
    return value_hash(recipe.restore_variables(asked))[:8]


def current_version(lake: Lake, recipe: Recipe, study: Study) -> str:
    """Return the version of a study as the recipe asks it now, by the name under which the lake has its students.

    A version that an older program recorded has another hash, without the decontamination and the sources, and no
    `settings`. It counts as current while what it was made from is equal, until `record_study_settings` adds them.
    """
    return _recorded_version(_known(lake, study), recipe, study)


def freeze_study(lake: Lake, recipe: Recipe, study: Study) -> str:
    """Record the definition of a study when its first student starts.

    A version that is recorded already is not changed. A changed study gets the next number, and the students of older
    versions keep theirs.

    Returns:
        The name of the version.
    """
    version = ""

    def add(known: pl.DataFrame) -> pl.DataFrame:
        nonlocal version
        known = _in_order(known)
        version = _recorded_version(known, recipe, study)
        if version in known["version"].to_list():
            return _with_settings(known, recipe, study)
        row = {
            "study": study.name,
            "version": version,
            "number": max([0, *known["number"]]) + 1,
            "definition": json.dumps(identity_of(study), default=str, ensure_ascii=False),
            "frozen_at": datetime.now(UTC),
            "settings": version,
        }
        return pl.concat([known, pl.DataFrame([row], schema=STUDY_VERSIONS.schema)])

    # Not appended: of two runs that start a study at once each would add the version, and it would stand there twice.
    lake.update(STUDY_VERSIONS, add, study=study.name)
    return version


def record_study_settings(lake: Lake, recipe: Recipe, study: Study) -> None:
    """Add the settings to a version that an older program recorded without, so that a later change is noticed."""
    if lake.scan(STUDY_VERSIONS, study=study.name).filter(pl.col("settings").is_null()).collect().height:
        lake.update(STUDY_VERSIONS, lambda known: _with_settings(_in_order(known), recipe, study), study=study.name)


def record_settings_of_studies(lake: Lake, recipe: Recipe) -> None:
    """Do what `record_study_settings` does for all studies of the recipe."""
    rows = lake.scan(STUDY_VERSIONS).filter(pl.col("settings").is_null()).select(pl.col("study").unique())
    unknown = set(rows.collect()["study"])
    for study in recipe.studies:
        if study.name in unknown:
            record_study_settings(lake, recipe, study)


def current_student(lake: Lake, recipe: Recipe, key: str) -> dict[str, Any]:
    """Return the row of arm_student of a student that was trained as the study asks now.

    Args:
        lake: The tables.
        recipe: The recipe.
        key: The student: STUDY.ARM.SEED.

    Raises:
        StudyError: There is none, or it was trained for another version of the study.
    """
    rows = lake.scan(ARM_STUDENTS, arm_student=key).collect()
    if rows.is_empty():
        raise StudyError(f"studies.{key}: it has no student: materialize arm_student of it first")
    student, study = rows.row(0, named=True), study_named(recipe, split_key(key)[0])
    if student["version"] != current_version(lake, recipe, study):
        raise StudyError(
            f"studies.{key}: its student was trained for another version of the study, and its scores would count for "
            "that one: materialize arm_student of it first (the job study_students); with equal rows and settings "
            "nothing is trained again"
        )
    return student


def _known(lake: Lake, study: Study) -> pl.DataFrame:
    return _in_order(lake.scan(STUDY_VERSIONS, study=study.name).collect())


def _in_order(known: pl.DataFrame) -> pl.DataFrame:
    return known.select(list(STUDY_VERSIONS.columns)).sort("number")


def _with_settings(known: pl.DataFrame, recipe: Recipe, study: Study) -> pl.DataFrame:
    """Add the settings to the current version if an older program recorded it without."""
    unknown = (pl.col("version") == _recorded_version(known, recipe, study)) & pl.col("settings").is_null()
    settings = pl.when(unknown).then(pl.lit(study_version(recipe, study))).otherwise("settings")
    return known.with_columns(settings.alias("settings"))


def _recorded_version(known: pl.DataFrame, recipe: Recipe, study: Study) -> str:
    version = study_version(recipe, study)
    same = known.filter(pl.any_horizontal(pl.col("version", "settings") == version))
    if same.is_empty():
        same = known.filter((pl.col("version") == _older_version(recipe, study)) & pl.col("settings").is_null())
    return str(same["version"][-1]) if same.height else version


def _older_version(recipe: Recipe, study: Study) -> str:
    """Return the hash by which older programs named a version."""
    asked: Mapping[str, Any] = {
        "study": identity_of(study),
        "student": identity_of(recipe.student),
        "teachers": {teacher.name: identity_of(teacher) for teacher in recipe.teachers},
        "domains": {name: identity_of(domain) for name, domain in recipe.domains.items()},
        "evaluation": identity_of(recipe.evaluation),
        "samples": recipe.answers_per_question,
        "filter": identity_of(recipe.answer_filter),
        # At its default it is what even older versions were made with.
        **({"seed": recipe.seed} if recipe.seed != Recipe.model_fields["seed"].default else {}),
    }
    return value_hash(asked)[:8]
