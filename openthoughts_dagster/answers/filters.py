"""The answer filters: one function for each method of the recipe's `answer_filter`.

To add a method, add its settings to `recipe/answers.py` and its function to FILTERS here.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import polars as pl

from openthoughts_dagster.answers import text_filters
from openthoughts_dagster.answers.agreement import majority_of, result_of, same_result
from openthoughts_dagster.answers.filter_context import QUESTION, ROW, FilterContext, select_dropped
from openthoughts_dagster.answers.judging import judged_majorities, judged_same
from openthoughts_dagster.answers.program_filters import drop_failing_programs
from openthoughts_dagster.lake import text_hashes
from openthoughts_dagster.recipe import AnswerFilter
from openthoughts_dagster.recipe.answers import (
    LongestAnswers,
    MajorityAnswers,
    Match,
    RandomAnswers,
    ShortestAnswers,
    VerifiedAnswers,
)

_SHOWN = 60  # characters of a result that the evidence shows

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
    return select_dropped(context.answers.clear(), "", pl.lit(""))


def _finished(settings: Any, context: FilterContext) -> pl.DataFrame:
    cut = context.answers.filter(outcome="unfinished")
    return select_dropped(
        cut, "unfinished", pl.format("cut off after {} tokens ({})", "completion_tokens", "finish_reason")
    )


def _by_length(settings: LongestAnswers | ShortestAnswers, context: FilterContext) -> pl.DataFrame:
    longest = isinstance(settings, LongestAnswers)
    ordered = context.answers.sort("completion_tokens", "sample_index", descending=[longest, False])
    ranked = ordered.with_columns(place=pl.int_range(1, pl.len() + 1).over(QUESTION))
    beyond = ranked.filter(pl.col("place") > settings.count)
    word = "longest" if longest else "shortest"
    return select_dropped(
        beyond, f"not_{word}", pl.format(f"the {{}}. {word}, with {{}} tokens", "place", "completion_tokens")
    )


def _majority(settings: MajorityAnswers, context: FilterContext) -> pl.DataFrame:
    rows = context.results()
    groups = rows.partition_by(QUESTION, maintain_order=True)
    results = [own["result"].to_list() for own in groups]
    if settings.judge is not None:
        agree = judged_majorities(_question_texts(context, groups), results, context.tools.judge(settings.judge))
    else:
        agree = [majority_of(own, settings.match) for own in results]
    others = [own.filter(~pl.Series(kept, dtype=pl.Boolean)) for own, kept in zip(groups, agree, strict=True)]
    evidence = pl.format("its result is {}", _shorten("result"))
    return select_dropped(pl.concat(others) if others else rows.clear(), "not_majority", evidence)


def _verified(settings: VerifiedAnswers, context: FilterContext) -> pl.DataFrame:
    if settings.match == "tests":
        return drop_failing_programs(settings.seconds, context)
    match: Match = settings.match
    rows = context.results().join(context.references(), on=QUESTION, how="left", maintain_order="left")
    references = [None if text is None else result_of(text) for text in rows["reference_answer"]]
    pairs = list(zip(rows["result"], references, strict=True))
    if settings.judge is not None:
        texts = _question_texts(context, [rows.slice(place, 1) for place in range(rows.height)])
        asked = [(text, first, second or "") for text, (first, second) in zip(texts, pairs, strict=True)]
        right = judged_same(asked, context.tools.judge(settings.judge))
    else:
        right = [second is not None and same_result(first, second, match) for first, second in pairs]
    wrong = rows.filter(~pl.Series(right, dtype=pl.Boolean))
    unknown = pl.col("reference_answer").is_null()
    reason = pl.when(unknown).then(pl.lit("no_reference")).otherwise(pl.lit("not_verified"))
    evidence = pl.format("its result is {}, the reference {}", _shorten("result"), _shorten("reference_answer"))
    return wrong.select(*ROW, reason=reason, evidence=evidence)


def _question_texts(context: FilterContext, groups: Sequence[pl.DataFrame]) -> list[str]:
    """Return the text of each group's question."""
    asked = context.questions.select(*QUESTION, "question").collect()
    texts = {(source, number): text for source, number, text in asked.iter_rows()}
    return [texts[group["source"][0], group["question_id"][0]] for group in groups]


def _random(settings: RandomAnswers, context: FilterContext) -> pl.DataFrame:
    count = context.answers.height - dropped_answers(settings.as_many_as, context).height
    names = context.answers.select(pl.concat_str("source", "question_id", "sample_index", separator="|"))
    order = pl.Series("order", text_hashes([str(settings.seed)], names.to_series(), []), dtype=pl.String)
    beyond = context.answers.with_columns(order).sort("order").slice(count)
    method = settings.as_many_as.method
    return select_dropped(beyond, "not_drawn", pl.lit(f"{count:,} answers are drawn, as many as {method} keeps"))


def _shorten(column: str) -> pl.Expr:
    return pl.col(column).fill_null("unknown").str.slice(0, _SHOWN)


FILTERS: Mapping[str, Filter] = {
    "none": _keep_all,
    "finished": _finished,
    "longest": _by_length,
    "shortest": _by_length,
    "majority": _majority,
    "verified": _verified,
    "language": text_filters.drop_other_languages,
    "paragraphs": text_filters.drop_long_paragraphs,
    "repetition": text_filters.drop_repetitive,
    "fasttext": text_filters.drop_unlike_examples,
    "likely": text_filters.drop_unlikely,
    "random": _random,
}
