"""Publishes an answer set from the ledger: the completion of each answer, and the reasons of rejected ones."""

from dataclasses import dataclass

import polars as pl

from openthoughts_dagster.answers.answer_set import AnswerSet
from openthoughts_dagster.answers.filter_context import ROW, FilterContext, FilterTools
from openthoughts_dagster.answers.filters import dropped_answers
from openthoughts_dagster.answers.plan import wanted_samples
from openthoughts_dagster.generation.engine import EngineError
from openthoughts_dagster.generation.ledger import chosen_completions
from openthoughts_dagster.generation.model import Model
from openthoughts_dagster.lake import COMPLETIONS, Lake, Table, frame_hash
from openthoughts_dagster.recipe import AnswerFilter

_NAMED = 5  # failed requests that an error lists
_LEDGER = ["completion_id", "content", "outcome", "finish_reason", "completion_tokens", "permanent"]


class AnswersMissing(EngineError):
    """More answers are missing than the recipe allows; the message names some of the requests."""


@dataclass(frozen=True)
class Published:
    """The published answers, kept and rejected: together one for every question and sample.

    Args:
        answers: Rows of the set's table of answers.
        rejected: Rows of its table of rejected answers, each with reason and evidence.
        lengths: Completion tokens of each kept answer.
        truncated: The number of kept answers that are cut off.
        data_version: Hash of the identities and texts of the kept answers.
    """

    answers: pl.DataFrame
    rejected: pl.DataFrame
    lengths: pl.Series
    truncated: int
    data_version: str


def publish_answers(
    lake: Lake,
    model: Model,
    answers: AnswerSet,
    keep: AnswerFilter,
    missing_allowed: float,
    tools: FilterTools | None = None,
) -> Published:
    """Write the set's tables from the ledger's completions of its plan, without copying texts.

    Rows that did not change are not written again.

    Args:
        lake: The tables, with the plan.
        model: The model that answered; its weights are not needed.
        answers: The answer set, which was planned.
        keep: The recipe's answer filter.
        missing_allowed: Share of the answers, from 0 to 1, that may have failed or may never have been generated.
        tools: What filters need that ask a judge or the student, or read files of the recipe.

    Returns:
        The published answers.

    Raises:
        AnswersMissing: More answers are missing than allowed; the tables are not changed.
        EngineError: The plan has no question, or no answer can be kept; the tables are not changed.
    """
    name = model.reference.name
    rows = _read_wanted(lake, model, answers)
    if rows.is_empty():
        raise EngineError(
            f"{name}: {answers.label} has no questions in {lake.root}, so there is nothing to answer. Materialize "
            "deduped_questions of the source, and look at rejected_questions if it kept none"
        )
    lost = rows.filter(pl.col("reason").is_in(["missing", "error"]))
    if lost.height > missing_allowed * rows.height:
        raise AnswersMissing(_describe_missing(name, answers.label, lost, rows.height, missing_allowed))
    rows = _add_filter_reasons(lake, answers, rows, keep, tools or FilterTools())
    kept, rejected = rows.filter(pl.col("reason").is_null()), rows.filter(pl.col("reason").is_not_null())
    if kept.is_empty():
        reasons = (rejected["reason"] + ": " + rejected["evidence"]).unique().sort().head(3)
        raise EngineError(
            f"{name}: none of its {rejected.height:,} answers to {answers.label} can be kept ({'; '.join(reasons)}). "
            "Look at its completions in the lake, its chat template and its max_tokens"
        )
    changed = _replace_if_changed(lake, answers, answers.rejected, rejected)
    if _replace_if_changed(lake, answers, answers.answers, kept) or changed:
        lake.compact(COMPLETIONS, model=model.identity.partition)
    return Published(
        kept,
        rejected,
        kept["completion_tokens"],
        int((kept["outcome"] == "unfinished").sum()),
        frame_hash(kept.select(_version_columns(kept))),
    )


def _replace_if_changed(lake: Lake, answers: AnswerSet, table: Table, rows: pl.DataFrame) -> bool:
    """Write the set's rows of a table if they differ from the existing ones; return whether they did."""
    columns = [column for column in table.columns if column not in answers.partition]
    there, order = answers.scan(lake, table).select(columns).collect(), [name for name in ROW if name in columns]
    if there.height == rows.height and there.sort(order).equals(rows.select(columns).sort(order)):
        return False
    answers.replace(lake, table, rows)
    return True


def _version_columns(kept: pl.DataFrame) -> list[str]:
    """Return the columns of the data version; the source is one of them if there are several sources."""
    columns = ["question_id", "sample_index", "content"]
    return columns if kept["source"].n_unique() < 2 else ["source", *columns]


def _read_wanted(lake: Lake, model: Model, answers: AnswerSet) -> pl.DataFrame:
    """Return every question and sample of the plan with the completion that counts, in a stable order.

    The columns `reason` and `evidence` say why there is no answer; they are null if there is one.
    """
    plan = answers.scan(lake, answers.plans).select("source", "question_id", "key", "first_sample").collect()
    samples = wanted_samples(plan["first_sample"], answers.samples)
    wanted = plan.drop("first_sample").with_columns(sample_index=samples).explode("sample_index")
    return (
        wanted.lazy()
        .join(chosen_completions(lake, model, plan["key"], _LEDGER), on=["key", "sample_index"], how="left")
        .with_columns(model=pl.lit(model.identity.partition))
        .with_columns(_describe_failure())
        .sort("question_id", "sample_index", "source")
        .collect()
    )


def _describe_failure() -> list[pl.Expr]:
    """Make the columns `reason` (a slug) and `evidence`, which say why there is no answer; null if there is one."""
    wrote_nothing = pl.format("the model wrote nothing in {} tokens ({})", "completion_tokens", "finish_reason")
    rules = [
        ("missing", pl.col("completion_id").is_null(), pl.lit("it was not generated")),
        ("error", pl.col("error").is_not_null(), pl.col("error")),
        ("empty", pl.col("outcome") == "empty", wrote_nothing),
    ]
    reason, evidence = pl.lit(None, dtype=pl.String), pl.lit(None, dtype=pl.String)
    for slug, holds, shows in reversed(rules):
        reason = pl.when(holds).then(pl.lit(slug)).otherwise(reason)
        evidence = pl.when(holds).then(shows).otherwise(evidence)
    return [reason.alias("reason"), evidence.alias("evidence")]


def _add_filter_reasons(
    lake: Lake, answers: AnswerSet, rows: pl.DataFrame, keep: AnswerFilter, tools: FilterTools
) -> pl.DataFrame:
    """Add the reasons of the recipe's filter to `rows`, which have those of missing answers."""
    there = rows.filter(pl.col("reason").is_null())
    dropped = dropped_answers(keep, FilterContext(lake, there, answers.questions, tools))
    if dropped.is_empty():
        return rows
    joined = rows.join(dropped, on=list(ROW), how="left", maintain_order="left", suffix="_of_filter")
    return joined.with_columns(pl.coalesce(name, f"{name}_of_filter").alias(name) for name in ("reason", "evidence"))


def _describe_missing(name: str, label: str, lost: pl.DataFrame, wanted: int, allowed: float) -> str:
    reasons = lost["evidence"].value_counts(sort=True).head(3)
    named = lost.head(_NAMED).select(pl.format("{} sample {}", "question_id", "sample_index")).to_series()
    why = "; ".join(f"{reason} ({count:,} times)" for reason, count in reasons.iter_rows())
    return (
        f"{name}: {lost.height:,} of {wanted:,} answers to {label} are missing, more than the recipe's "
        f"missing_answers: {allowed:g} allows. Why: {why}. The first requests: {', '.join(named)}. Everything else is "
        f"in the ledger: {_suggest_remedy(lost)}"
    )


def _suggest_remedy(lost: pl.DataFrame) -> str:
    refused = int(lost["permanent"].fill_null(False).sum())
    if not refused:
        return "materialize again to ask only for these"
    ask = "run `openthoughts retry` to ask them again once the cause is mended"
    if refused == lost.height:
        return f"all of these failed permanently, and materializing does not ask them again: {ask}"
    return f"materialize again to ask for these, except for {refused:,} that failed permanently: {ask}"
