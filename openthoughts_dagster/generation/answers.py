"""A teacher's answers to questions: asked once, read by key, rejects with their reason."""

from collections.abc import Callable
from dataclasses import dataclass

import polars as pl

from openthoughts_dagster.generation.engine import EngineError
from openthoughts_dagster.generation.generate import Spent, generate, plan
from openthoughts_dagster.generation.ledger import read_answers
from openthoughts_dagster.generation.model import Model
from openthoughts_dagster.generation.pool import EnginePool
from openthoughts_dagster.generation.requests import Answer, Prompt
from openthoughts_dagster.lake import REJECTED_ANSWERS, TEACHER_ANSWERS, Lake
from openthoughts_dagster.recipe import AnswerFilter, Teacher


@dataclass(frozen=True)
class Answered:
    """Rows of teacher_answers and of rejected_answers; together one for every question and sample."""

    answers: pl.DataFrame
    rejected: pl.DataFrame
    spent: Spent


def answer_questions(
    lake: Lake,
    pool: EnginePool,
    model: Model,
    questions: pl.DataFrame,
    samples: int,
    keep: AnswerFilter,
    log: Callable[[str], None],
) -> Answered:
    """`samples` answers of a teacher to each of `questions` (source, question_id, question).

    Only samples that the ledger lacks are generated. Raises EngineError when the engine cannot go on, or when no
    answer at all could be kept.
    """
    teacher = model.reference
    assert isinstance(teacher, Teacher)
    planned = plan(lake, model, [Prompt(text, samples) for text in questions["question"]], teacher.sampling)
    spent = generate(lake, pool, planned, log)
    answers = read_answers(lake, model, [request.key for group in planned.wanted for request in group])
    kept, rejected = [], []
    for (source, question_id), group in zip(
        questions.select("source", "question_id").iter_rows(), planned.wanted, strict=True
    ):
        for request in group:
            answer = answers[request.key, request.sample_index]
            row = {
                "source": source,
                "teacher": teacher.name,
                "question_id": question_id,
                "sample_index": request.sample_index,
                "key": request.key,
            }
            reason, evidence = _rejection(answer, keep)
            if reason:
                rejected.append(row | {"reason": reason, "evidence": evidence})
            else:
                kept.append(row)
    if not kept and rejected:
        reasons = sorted({f"{row['reason']}: {row['evidence']}" for row in rejected})[:3]
        raise EngineError(
            f"{teacher.name}: none of its {len(rejected):,} answers can be kept ({'; '.join(reasons)}). Look at its "
            "completions in the lake, its chat template and its max_tokens"
        )
    return Answered(
        pl.DataFrame(kept, schema=TEACHER_ANSWERS.schema), pl.DataFrame(rejected, schema=REJECTED_ANSWERS.schema), spent
    )


def _rejection(answer: Answer, keep: AnswerFilter) -> tuple[str, str]:
    """Why an answer is not kept, as a slug and its evidence; empty texts when it is."""
    if answer.error is not None:
        return "error", answer.error
    if not answer.answer.strip() and not (answer.reasoning or "").strip():
        return "empty", f"the model wrote nothing in {answer.completion_tokens} tokens ({answer.finish_reason})"
    unfinished = answer.finish_reason == "length" or not answer.answer.strip()
    if keep.method == "finished" and unfinished:
        return "unfinished", f"{answer.completion_tokens} tokens without an end ({answer.finish_reason})"
    return "", ""
