"""Which answers a student may train on: one function for each method of the recipe's `answer_filter`.

To add a method, add its settings to `recipe/answers.py` and its function to FILTERS here.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import polars as pl

from openthoughts_dagster.lake import Lake
from openthoughts_dagster.recipe import AnswerFilter

ROW = ("source", "question_id", "sample_index")
"""What names an answer in an answer set."""


@dataclass(frozen=True)
class FilterContext:
    """What a filter looks at.

    Args:
        lake: The tables; the ledger has the texts.
        answers: The answers that are there, a row each: source, question_id, sample_index, model, completion_id,
            outcome, finish_reason and completion_tokens.
        questions: Columns source, question_id and question.
    """

    lake: Lake
    answers: pl.DataFrame
    questions: pl.LazyFrame


Filter = Callable[[Any, FilterContext], pl.DataFrame]
"""Settings and context in; out come the answers to drop: the columns of ROW, a reason (a slug), and the evidence."""


def dropped_answers(settings: AnswerFilter, context: FilterContext) -> pl.DataFrame:
    """The answers that the recipe's filter drops.

    Args:
        settings: The recipe's `answer_filter`.
        context: The answers, and what filters may look at beside them.

    Returns:
        Columns source, question_id, sample_index, reason and evidence; no row where every answer is kept.
    """
    return FILTERS[settings.method](settings, context)


def _keep_all(settings: Any, context: FilterContext) -> pl.DataFrame:
    """The paper's final choice: every answer is kept, right or wrong, finished or not."""
    return _drop(context.answers.clear(), "", pl.lit(""))


def _finished(settings: Any, context: FilterContext) -> pl.DataFrame:
    """Drop answers that max_tokens cut off, that a guard stopped, or that never left their reasoning."""
    cut = context.answers.filter(outcome="unfinished")
    return _drop(cut, "unfinished", pl.format("cut off after {} tokens ({})", "completion_tokens", "finish_reason"))


def _drop(rows: pl.DataFrame, reason: str, evidence: pl.Expr) -> pl.DataFrame:
    return rows.select(*ROW, reason=pl.lit(reason), evidence=evidence)


FILTERS: Mapping[str, Filter] = {"none": _keep_all, "finished": _finished}
