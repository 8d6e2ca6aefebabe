"""Students trained on the teachers' answers."""

import json
import time

import dagster as dg
import polars as pl

from openthoughts_dagster.defs.kubernetes.several_nodes import nodes_launch
from openthoughts_dagster.defs.metadata import line, sample_rows
from openthoughts_dagster.defs.partitions import cell, cells
from openthoughts_dagster.defs.resources import LakeResource, ModelsResource
from openthoughts_dagster.defs.steps import MODEL_RETRIES, resumable, runs_a_model
from openthoughts_dagster.lake import DEDUPED_QUESTIONS, STUDENT_CHECKPOINTS
from openthoughts_dagster.recipe import Recipe
from openthoughts_dagster.training import sample_rows as sample_training_rows
from openthoughts_dagster.training import train_student


def student_checkpoint_asset(recipe: Recipe, models_asset: list[str]) -> dg.AssetsDefinition:
    """The asset that trains students; `models_asset` names what makes the base weights, if an asset does."""

    @dg.asset(
        name="student_checkpoint",
        partitions_def=cells(recipe),
        deps=["teacher_answers", *models_asset],
        group_name="students",
        kinds={"pytorch", "huggingface"},
        owners=["team:models"],
        op_tags=runs_a_model("student"),
        retry_policy=MODEL_RETRIES,
    )
    @resumable
    def student_checkpoint(
        context: dg.AssetExecutionContext, lake: LakeResource, models: ModelsResource
    ) -> dg.MaterializeResult:
        """The student fine-tuned on one cell's answers: a Hugging Face checkpoint folder, or its address in a store.

        The same base, rows and settings are trained once; an interrupted training goes on from its last checkpoint.
        """
        (source, teacher), start, tables = cell(context.partition_key), time.monotonic(), lake.open()
        student = recipe.student
        questions = tables.scan(DEDUPED_QUESTIONS, source=source).select("question_id", "question")
        answers = tables.answers(source=source, teacher=teacher).join(questions, on="question_id").collect()
        rows = sample_training_rows(answers, student.rows, student.seed, student.repeat_small_sources)
        models.pool.make_room()
        place = ("students", source, teacher)
        folder, shared = models.workplace(*place), models.shared_students(*place)
        launch = nodes_launch(student, context.log.info)
        base = models.locate(student, weights=launch is None)
        trained = train_student(student, base, rows, folder, context.log.info, shared=shared, launch=launch)
        reached = models.locate(student.model_copy(update={"model": trained.path, "revision": None}), weights=False)
        record = {
            "source": source,
            "teacher": teacher,
            "path": trained.path,
            "fingerprint": trained.fingerprint,
            "rows": trained.rows,
            "dropped_rows": trained.dropped_rows,
            "steps": trained.steps,
            "train_tokens": trained.train_tokens,
            "seconds": trained.seconds,
            "final_loss": trained.losses[-1][1],
            "losses": json.dumps(trained.losses),
        }
        table = pl.DataFrame([record], schema=STUDENT_CHECKPOINTS.schema)
        tables.replace(STUDENT_CHECKPOINTS, table, source=source, teacher=teacher)
        return dg.MaterializeResult(
            data_version=dg.DataVersion(reached.identity.revision),
            metadata={
                "path": dg.MetadataValue.path(trained.path),
                "students_trained": int(not trained.reused),
                "answers_in": answers.height,
                "dagster/row_count": trained.rows,
                "rows_dropped_too_long": trained.dropped_rows,
                "steps": trained.steps,
                "train_tokens": trained.train_tokens,
                "final_loss": trained.losses[-1][1],
                "loss_curve": line(trained.losses, f"Training loss, {source} by {teacher}", "step", "loss"),
                "training_seconds": round(trained.seconds, 1),
                "sample": sample_rows(rows.select("question", "text")),
                "seconds": round(time.monotonic() - start, 1),
            },
        )

    return student_checkpoint
