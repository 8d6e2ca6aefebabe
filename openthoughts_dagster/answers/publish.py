"""A teacher's answers to the questions of one source: asked shard by shard, then published by key."""

from dataclasses import dataclass

import polars as pl

from openthoughts_dagster.generation.engine import EngineError
from openthoughts_dagster.generation.ledger import chosen_completions
from openthoughts_dagster.generation.model import Model
from openthoughts_dagster.lake import (
    ANSWER_PLANS,
    COMPLETIONS,
    REJECTED_ANSWERS,
    TEACHER_ANSWERS,
    Lake,
    frame_hash,
)
from openthoughts_dagster.recipe import AnswerFilter

_NAMED = 5  # failed requests that an error names


class AnswersMissing(EngineError):
    """More answers of a partition are missing than the recipe allows; the message names some of the requests."""


@dataclass(frozen=True)
class Published:
    """Rows of teacher_answers and of rejected_answers; together one for every question and sample.

    `lengths` are the completion tokens of the kept answers, `truncated` how many of them are cut off.
    """

    answers: pl.DataFrame
    rejected: pl.DataFrame
    lengths: pl.Series
    truncated: int
    data_version: str


def publish_answers(
    lake: Lake, model: Model, source: str, samples: int, keep: AnswerFilter, missing_allowed: float
) -> Published:
    """Make the partition of teacher_answers what the ledger holds for its plan. Copies no text.

    Rows that did not change are not written again. Raises AnswersMissing when failed and never generated answers are
    more than the share `missing_allowed`, and EngineError when not one answer can be kept; the partition then stays
    what it was.
    """
    name = model.reference.name
    rows = _wanted(lake, model, source, samples).with_columns(_rejection(keep))
    lost = rows.filter(pl.col("reason").is_in(["missing", "error"]))
    if lost.height > missing_allowed * rows.height:
        raise AnswersMissing(_account(name, source, lost, rows.height, missing_allowed))
    kept, rejected = rows.filter(pl.col("reason").is_null()), rows.filter(pl.col("reason").is_not_null())
    if kept.is_empty() and not rejected.is_empty():
        reasons = (rejected["reason"] + ": " + rejected["evidence"]).unique().sort().head(3)
        raise EngineError(
            f"{name}: none of its {rejected.height:,} answers to {source} can be kept ({'; '.join(reasons)}). Look at "
            "its completions in the lake, its chat template and its max_tokens"
        )
    cell = {"source": source, "teacher": name}
    answers = kept.select(list(TEACHER_ANSWERS.columns))
    if not lake.scan(TEACHER_ANSWERS, **cell).collect().equals(answers):
        lake.replace(REJECTED_ANSWERS, rejected.select(list(REJECTED_ANSWERS.columns)), **cell)
        lake.replace(TEACHER_ANSWERS, answers, **cell)
        lake.compact(COMPLETIONS, model=model.identity.partition)
    return Published(
        answers,
        rejected,
        kept["completion_tokens"],
        int((kept["outcome"] == "unfinished").sum()),
        frame_hash(answers.select("question_id", "sample_index", "content")),
    )


def _wanted(lake: Lake, model: Model, source: str, samples: int) -> pl.DataFrame:
    """Every question and sample of the plan beside the completion that counts, in a stable order."""
    name = model.reference.name
    plan = lake.scan(ANSWER_PLANS, source=source, teacher=name).select("source", "teacher", "question_id", "key")
    questions = plan.collect()
    indexes = pl.LazyFrame({"sample_index": pl.int_range(samples, dtype=pl.Int32, eager=True)})
    chosen = chosen_completions(
        lake,
        model,
        questions["key"],
        ["completion_id", "content", "outcome", "finish_reason", "completion_tokens"],
    )
    return (
        questions.lazy()
        .join(indexes, how="cross")
        .join(chosen, on=["key", "sample_index"], how="left")
        .with_columns(model=pl.lit(model.identity.partition))
        .sort("question_id", "sample_index")
        .collect()
    )


def _rejection(keep: AnswerFilter) -> list[pl.Expr]:
    """Why an answer is not kept, as columns `reason` (a slug) and `evidence`; nulls when it is kept."""
    said = pl.format("{} tokens ({})", "completion_tokens", "finish_reason")
    rules = [
        ("missing", pl.col("completion_id").is_null(), pl.lit("it was not generated")),
        ("error", pl.col("error").is_not_null(), pl.col("error")),
        ("empty", pl.col("outcome") == "empty", pl.format("the model wrote nothing in {}", said)),
    ]
    if keep.method == "finished":
        rules.append(("unfinished", pl.col("outcome") == "unfinished", pl.format("cut off after {}", said)))
    reason, evidence = pl.lit(None, dtype=pl.String), pl.lit(None, dtype=pl.String)
    for slug, holds, shows in reversed(rules):
        reason = pl.when(holds).then(pl.lit(slug)).otherwise(reason)
        evidence = pl.when(holds).then(shows).otherwise(evidence)
    return [reason.alias("reason"), evidence.alias("evidence")]


def _account(name: str, source: str, lost: pl.DataFrame, wanted: int, allowed: float) -> str:
    reasons = lost["evidence"].value_counts(sort=True).head(3)
    named = lost.head(_NAMED).select(pl.format("{} sample {}", "question_id", "sample_index")).to_series()
    why = "; ".join(f"{reason} ({count:,} times)" for reason, count in reasons.iter_rows())
    return (
        f"{name}: {lost.height:,} of {wanted:,} answers to {source} are missing, more than the recipe's "
        f"missing_answers: {allowed:g} allows. Why: {why}. The first requests: {', '.join(named)}. Everything else is "
        "in the ledger: materialize again to ask only for these"
    )
