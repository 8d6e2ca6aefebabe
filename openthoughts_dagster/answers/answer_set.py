"""An answer set: the questions that one model answers, the number of samples, and the tables."""

from collections.abc import Mapping
from dataclasses import dataclass

import polars as pl

from openthoughts_dagster.lake import (
    ANSWER_PLANS,
    DEDUPED_QUESTIONS,
    REJECTED_ANSWERS,
    TEACHER_ANSWERS,
    Lake,
    Table,
)


@dataclass(frozen=True)
class AnswerSet:
    """Questions for one model, and the tables of its plan and its answers.

    A cell (a source with a teacher) has an answer set, and so has an arm of a study. Planning, answering and publishing
    work on answer sets and know nothing about sources, teachers or partitions.

    Args:
        label: The name of the questions in messages, such as the name of their source.
        questions: Columns source, question_id, question and scores (a JSON object of numbers); ids are unique, and
            their order is the same whenever they are read.
        samples: Answers for each question.
        partition: The columns and values of this set's partition of the three tables.
        asset: The asset that the ledger records as the one that paid.
        plans: The table of plans; partitioned by the columns of `partition`, as the other two are.
        answers: The table that names the completion of every answer.
        rejected: The table of answers that are not used, with their reasons.
    """

    label: str
    questions: pl.LazyFrame
    samples: int
    partition: Mapping[str, str]
    asset: str = TEACHER_ANSWERS.name
    plans: Table = ANSWER_PLANS
    answers: Table = TEACHER_ANSWERS
    rejected: Table = REJECTED_ANSWERS

    def scan(self, lake: Lake, table: Table) -> pl.LazyFrame:
        """Scan the rows of one of the tables that belong to this set."""
        return lake.scan(table, **self.partition)

    def replace(self, lake: Lake, table: Table, rows: pl.DataFrame) -> None:
        """Replace this set's rows of one of the tables, in one commit."""
        named = rows.with_columns(pl.lit(value).alias(column) for column, value in self.partition.items())
        lake.replace(table, named.select(list(table.columns)), **self.partition)


def cell_answers(lake: Lake, source: str, teacher: str, samples: int) -> AnswerSet:
    """Return the answer set of a cell: one teacher's answers to the kept questions of one source.

    Args:
        lake: The tables.
        source: Name of the source, which is a partition of `deduped_questions`.
        teacher: Name of the teacher.
        samples: Answers for each question.

    Returns:
        The set. Its questions are read lazily.
    """
    questions = lake.scan(DEDUPED_QUESTIONS, source=source).select("source", "question_id", "question", "scores")
    return AnswerSet(source, questions, samples, {"source": source, "teacher": teacher})
