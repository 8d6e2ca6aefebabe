"""The students of a study's arms, one for each seed."""

import time

import dagster as dg

from openthoughts_dagster.answers import publish_training_set
from openthoughts_dagster.defs.asset_entry import AssetEntry
from openthoughts_dagster.defs.resources import LakeResource, ModelsResource
from openthoughts_dagster.defs.settings import Settings
from openthoughts_dagster.defs.steps import resumable
from openthoughts_dagster.defs.student_training import student_metadata, student_record, train_on_set
from openthoughts_dagster.evaluation import require_confinement
from openthoughts_dagster.lake import ARM_STUDENTS
from openthoughts_dagster.recipe import Recipe
from openthoughts_dagster.studies import arm_named, freeze_study, question_texts, require_current_answers, student_rows
from openthoughts_dagster.studies.arms import split_key


def arm_student_asset(entry: AssetEntry, recipe: Recipe, _: Settings) -> dg.AssetsDefinition:
    """Make the asset that trains a student for each arm and seed of the studies."""

    @dg.asset(**entry.arguments(recipe))
    @resumable
    def arm_student(
        context: dg.AssetExecutionContext, lake: LakeResource, models: ModelsResource
    ) -> dg.MaterializeResult:
        """The student of one arm and one seed, fine-tuned on the arm's answers.

        Equal base models, rows and settings are one student: an arm that equals a cell trains nothing. The settings of
        the study are frozen when its first student starts.
        """
        key, start, tables = context.partition_key, time.monotonic(), lake.open()
        arm, (_, _, seed) = arm_named(recipe, tables, key), split_key(key)
        assert seed is not None
        require_confinement(recipe.evaluation)  # a student that cannot be scored is not trained
        require_current_answers(tables, recipe, arm)
        version = freeze_study(tables, recipe, arm.study)
        publish_training_set(tables, key, student_rows(tables, arm, seed))
        student, questions = arm.student_of(seed), question_texts(tables, arm)
        trained, data_version, rows = train_on_set(models, student, tables, key, questions, context.log.info)
        record = student_record(
            ARM_STUDENTS, trained, arm_student=key, study=arm.study.name, version=version, arm_name=arm.name, seed=seed
        )
        tables.replace(ARM_STUDENTS, record, arm_student=key)
        return dg.MaterializeResult(
            data_version=dg.DataVersion(data_version),
            metadata=student_metadata(trained, rows, key) | {"seconds": round(time.monotonic() - start, 1)},
        )

    return arm_student
