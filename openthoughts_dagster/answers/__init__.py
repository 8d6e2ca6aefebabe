"""Answers of models to sets of questions: plans, shards, publishing, and training sets."""

from openthoughts_dagster.answers.answer_set import AnswerSet, cell_answers
from openthoughts_dagster.answers.filter_context import AnswerToTest, FilterTools, ProgramVerdict
from openthoughts_dagster.answers.plan import AnswerPlan, plan_answers
from openthoughts_dagster.answers.publish import AnswersMissing, Published, publish_answers
from openthoughts_dagster.answers.shards import answer_shard
from openthoughts_dagster.answers.training_sets import (
    count_licences,
    publish_training_set,
    read_training_set,
    sample_rows,
    write_training_set,
)

__all__ = [
    "AnswerPlan",
    "AnswerSet",
    "AnswerToTest",
    "AnswersMissing",
    "FilterTools",
    "ProgramVerdict",
    "Published",
    "answer_shard",
    "cell_answers",
    "count_licences",
    "plan_answers",
    "publish_answers",
    "publish_training_set",
    "read_training_set",
    "sample_rows",
    "write_training_set",
]
