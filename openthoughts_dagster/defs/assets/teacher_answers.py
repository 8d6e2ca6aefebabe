"""What the teachers answer."""

import time

import dagster as dg

from openthoughts_dagster.defs.metadata import cost, counts, histogram, sample_rows
from openthoughts_dagster.defs.partitions import cell, cells
from openthoughts_dagster.defs.resources import LakeResource, ModelsResource
from openthoughts_dagster.generation.answers import answer_questions
from openthoughts_dagster.lake import DEDUPED_QUESTIONS, REJECTED_ANSWERS, TEACHER_ANSWERS, frame_hash
from openthoughts_dagster.recipe import Recipe


def teacher_answers_asset(recipe: Recipe, models_asset: list[str]) -> dg.AssetsDefinition:
    """The asset that asks teachers; `models_asset` names what makes their weights, if an asset does."""

    @dg.asset(
        name="teacher_answers",
        partitions_def=cells(recipe),
        deps=["deduped_questions", *models_asset],
        group_name="answers",
        kinds={"deltalake", "llm"},
        owners=["team:models"],
    )
    def teacher_answers(
        context: dg.AssetExecutionContext, lake: LakeResource, models: ModelsResource
    ) -> dg.MaterializeResult:
        """Sampled answers of one teacher to the questions of one source.

        Completions are committed to the ledger while they come in; only samples that it lacks are generated.
        """
        (source, teacher), start, tables = cell(context.partition_key), time.monotonic(), lake.open()
        questions = tables.scan(DEDUPED_QUESTIONS, source=source).collect()
        samples = recipe.answers_per_question
        model = models.locate(recipe.teacher(teacher))
        answered = answer_questions(
            tables, models.pool, model, questions, samples, recipe.answer_filter, context.log.info
        )
        tables.replace(REJECTED_ANSWERS, answered.rejected, source=source, teacher=teacher)
        tables.replace(TEACHER_ANSWERS, answered.answers, source=source, teacher=teacher)
        rows = tables.answers(source=source, teacher=teacher).collect()
        texts = rows.select("question_id", "sample_index", "reasoning", "answer")
        return dg.MaterializeResult(
            data_version=dg.DataVersion(frame_hash(texts)),
            metadata={
                "questions_in": questions.height,
                "answers_per_question": samples,
                "dagster/row_count": rows.height,
                "answers_rejected": answered.rejected.height,
                "rejected_by_reason": counts(answered.rejected, "reason"),
                "truncated_answers": rows.filter(finish_reason="length").height,
                "tokens_per_answer": histogram(rows["completion_tokens"].to_list(), "Tokens per answer"),
                **cost(answered.spent),
                "sample": sample_rows(rows.select("prompt", "reasoning", "answer")),
                "seconds": round(time.monotonic() - start, 1),
            },
        )

    return teacher_answers
