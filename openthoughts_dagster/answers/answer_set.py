"""The answers that one model gives to a set of questions: which questions, how often, and in which tables."""

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
    """Questions for one model, and where its plan and its answers are kept.

    A cell (a source and a teacher) has one, and so has whatever else asks a model: planning, answering and publishing
    know nothing of sources, teachers or partitions.

    Args:
        label: How messages call the questions, such as the name of their source.
        questions: Columns source, question_id, question and scores (a JSON object of numbers); ids are unique.
        samples: Answers for each question.
        partition: The partition of the three tables that is this set's, by column.
        asset: The asset that the ledger notes as the one that paid.
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
        """The rows of one of the tables that belong to this set."""
        return lake.scan(table, **self.partition)

    def replace(self, lake: Lake, table: Table, rows: pl.DataFrame) -> None:
        """Make `rows` the rows of one of the tables that belong to this set, in one commit."""
        named = rows.with_columns(pl.lit(value).alias(column) for column, value in self.partition.items())
        lake.replace(table, named.select(list(table.columns)), **self.partition)


def cell_answers(lake: Lake, source: str, teacher: str, samples: int) -> AnswerSet:
    """The answers of one teacher to the kept questions of one source.

    Args:
        lake: The tables.
        source: Name of the source, which is a partition of `deduped_questions`.
        teacher: Name of the teacher.
        samples: Answers for each question.

    Returns:
        The set; its questions are read when somebody collects them.
    """
    questions = lake.scan(DEDUPED_QUESTIONS, source=source).select("source", "question_id", "question", "scores")
    return AnswerSet(source, questions, samples, {"source": source, "teacher": teacher})
