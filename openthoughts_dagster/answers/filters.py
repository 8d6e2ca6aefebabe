"""The answer filters: one function for each method of the recipe's `answer_filter`.

To add a method, add its settings to `recipe/answers.py` and its function to FILTERS here.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import polars as pl

from openthoughts_dagster.answers.agreement import majority_of, result_of, same_result
from openthoughts_dagster.lake import COMPLETIONS, RAW_SOURCES, text_hashes
from openthoughts_dagster.lake.reading import LakeReader
from openthoughts_dagster.recipe import AnswerFilter
from openthoughts_dagster.recipe.answers import (
    LongestAnswers,
    MajorityAnswers,
    RandomAnswers,
    ShortestAnswers,
    VerifiedAnswers,
)

ROW = ("source", "question_id", "sample_index")
"""What names an answer in an answer set."""
_QUESTION = ["source", "question_id"]
_SHOWN = 60  # characters of a result that the evidence shows


@dataclass(frozen=True)
class FilterContext:
    """The data that a filter reads.

    Args:
        lake: The tables; the ledger has the texts.
        answers: The existing answers, a row each: source, question_id, sample_index, model, completion_id,
            outcome, finish_reason and completion_tokens.
        questions: Columns source, question_id and question.
    """

    lake: LakeReader
    answers: pl.DataFrame
    questions: pl.LazyFrame

    def results(self) -> pl.DataFrame:
        """The answers with a column `result`, which is empty for an answer that is cut off."""
        models = self.answers["model"].unique().implode()
        texts = (
            self.lake.scan(COMPLETIONS)
            .filter(pl.col("model").is_in(models))
            .select("completion_id", "answer")
            .join(self.answers.lazy().select("completion_id").unique(), on="completion_id", how="semi")
            .unique("completion_id")
            .collect()
        )
        ends = texts.select("completion_id", result=pl.col("answer").map_elements(result_of, return_dtype=pl.String))
        rows = self.answers.join(ends, on="completion_id", how="left", maintain_order="left")
        finished = pl.col("outcome") != "unfinished"
        return rows.with_columns(result=pl.when(finished).then(pl.col("result")).otherwise(pl.lit("")))

    def references(self) -> pl.DataFrame:
        """The columns source, question_id and reference_answer of the questions; the last may be null."""
        sources = self.answers["source"].unique().implode()
        raw = self.lake.scan(RAW_SOURCES).filter(pl.col("source").is_in(sources))
        return raw.select(*_QUESTION, "reference_answer").unique(_QUESTION).collect()


Filter = Callable[[Any, FilterContext], pl.DataFrame]
"""Settings and context in; out come the answers to drop: the columns of ROW, a reason (a slug), and the evidence."""


def dropped_answers(settings: AnswerFilter, context: FilterContext) -> pl.DataFrame:
    """Return the answers that the recipe's filter drops.

    Args:
        settings: The recipe's `answer_filter`.
        context: The answers and the other data that filters read.

    Returns:
        Columns source, question_id, sample_index, reason and evidence; no rows if every answer is kept.
    """
    return FILTERS[settings.method](settings, context)


def _keep_all(settings: Any, context: FilterContext) -> pl.DataFrame:
    return _select_dropped(context.answers.clear(), "", pl.lit(""))


def _finished(settings: Any, context: FilterContext) -> pl.DataFrame:
    cut = context.answers.filter(outcome="unfinished")
    return _select_dropped(
        cut, "unfinished", pl.format("cut off after {} tokens ({})", "completion_tokens", "finish_reason")
    )


def _by_length(settings: LongestAnswers | ShortestAnswers, context: FilterContext) -> pl.DataFrame:
    longest = isinstance(settings, LongestAnswers)
    ordered = context.answers.sort("completion_tokens", "sample_index", descending=[longest, False])
    ranked = ordered.with_columns(place=pl.int_range(1, pl.len() + 1).over(_QUESTION))
    beyond = ranked.filter(pl.col("place") > settings.count)
    word = "longest" if longest else "shortest"
    return _select_dropped(
        beyond, f"not_{word}", pl.format(f"the {{}}. {word}, with {{}} tokens", "place", "completion_tokens")
    )


def _majority(settings: MajorityAnswers, context: FilterContext) -> pl.DataFrame:
    rows = context.results()
    parts = []
    for own in rows.partition_by(_QUESTION, maintain_order=True):
        agrees = majority_of(own["result"].to_list(), settings.match)
        parts.append(own.filter(~pl.Series(agrees, dtype=pl.Boolean)))
    others = pl.concat(parts) if parts else rows.clear()
    return _select_dropped(others, "not_majority", pl.format("its result is {}", _shorten("result")))


def _verified(settings: VerifiedAnswers, context: FilterContext) -> pl.DataFrame:
    rows = context.results().join(context.references(), on=_QUESTION, how="left", maintain_order="left")
    pairs = rows.select("result", "reference_answer").iter_rows()
    right = [
        reference is not None and same_result(result, result_of(reference), settings.match)
        for result, reference in pairs
    ]
    wrong = rows.filter(~pl.Series(right, dtype=pl.Boolean))
    unknown = pl.col("reference_answer").is_null()
    reason = pl.when(unknown).then(pl.lit("no_reference")).otherwise(pl.lit("not_verified"))
    evidence = pl.format("its result is {}, the reference {}", _shorten("result"), _shorten("reference_answer"))
    return wrong.select(*ROW, reason=reason, evidence=evidence)


def _random(settings: RandomAnswers, context: FilterContext) -> pl.DataFrame:
    count = context.answers.height - dropped_answers(settings.as_many_as, context).height
    names = context.answers.select(pl.concat_str("source", "question_id", "sample_index", separator="|"))
    order = pl.Series("order", text_hashes([str(settings.seed)], names.to_series(), []), dtype=pl.String)
    beyond = context.answers.with_columns(order).sort("order").slice(count)
    method = settings.as_many_as.method
    return _select_dropped(beyond, "not_drawn", pl.lit(f"{count:,} answers are drawn, as many as {method} keeps"))


def _shorten(column: str) -> pl.Expr:
    return pl.col(column).fill_null("unknown").str.slice(0, _SHOWN)


def _select_dropped(rows: pl.DataFrame, reason: str, evidence: pl.Expr) -> pl.DataFrame:
    return rows.select(*ROW, reason=pl.lit(reason), evidence=evidence)


FILTERS: Mapping[str, Filter] = {
    "none": _keep_all,
    "finished": _finished,
    "longest": _by_length,
    "shortest": _by_length,
    "majority": _majority,
    "verified": _verified,
    "random": _random,
}
