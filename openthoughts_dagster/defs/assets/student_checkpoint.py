"""The students that are trained on the teachers' answers."""

import time

import dagster as dg

from openthoughts_dagster.answers import publish_training_set, sample_rows
from openthoughts_dagster.defs.asset_entry import AssetEntry
from openthoughts_dagster.defs.cell_seeds import train_other_seeds
from openthoughts_dagster.defs.resources import LakeResource, ModelsResource
from openthoughts_dagster.defs.settings import Settings
from openthoughts_dagster.defs.steps import resumable
from openthoughts_dagster.defs.student_training import student_metadata, student_record, train_on_set
from openthoughts_dagster.evaluation import require_confinement
from openthoughts_dagster.lake import DEDUPED_QUESTIONS, STUDENT_CHECKPOINTS, TEACHER_ANSWERS
from openthoughts_dagster.recipe import Recipe


def student_checkpoint_asset(entry: AssetEntry, recipe: Recipe, _: Settings) -> dg.AssetsDefinition:
    """Make the asset that trains a student for each source and teacher."""

    @dg.asset(**entry.arguments(recipe))
    @resumable
    def student_checkpoint(
        context: dg.AssetExecutionContext, lake: LakeResource, models: ModelsResource
    ) -> dg.MaterializeResult:
        """The student fine-tuned on one cell's answers: a Hugging Face checkpoint folder, or its address in a store.

        Equal base models, rows and settings are trained once. An interrupted training continues from its last
        checkpoint.
        """
        name, start, tables, student = context.partition_key, time.monotonic(), lake.open(), recipe.student
        source, teacher = entry.partitions.labels_in(recipe, name).values()
        require_confinement(recipe.evaluation)  # a student that cannot be scored is not trained
        answers = tables.scan(TEACHER_ANSWERS, source=source, teacher=teacher).collect()
        chosen = sample_rows(answers, student.rows, student.seed, student.repeat_small_sources)
        publish_training_set(tables, name, chosen)
        questions = tables.scan(DEDUPED_QUESTIONS, source=source)
        trained, version, rows = train_on_set(models, student, tables, name, questions, context.log.info)
        record = student_record(STUDENT_CHECKPOINTS, trained, source=source, teacher=teacher)
        tables.replace(STUDENT_CHECKPOINTS, record, source=source, teacher=teacher)
        others = train_other_seeds(models, tables, recipe.student, (source, teacher), context.log.info)
        shown = student_metadata(trained, rows, f"{source} by {teacher}")
        return dg.MaterializeResult(
            data_version=dg.DataVersion(others.data_version(version)),
            metadata=shown
            | {"students_trained": shown["students_trained"] + others.trained, "seeds": 1 + len(student.other_seeds)}
            | {"answers_in": answers.height, "seconds": round(time.monotonic() - start, 1)},
        )

    return student_checkpoint
