"""Compares two versions: which questions and answers came, went and changed, and why."""

from collections.abc import Mapping
from dataclasses import dataclass

import polars as pl

from openthoughts_dagster.lake import REJECTED_ANSWERS, REJECTED_QUESTIONS, Lake
from openthoughts_dagster.release.pool import QUESTION, ROW
from openthoughts_dagster.release.versions import ReleaseVersion, rejected_of_version, rows_of_version
from openthoughts_dagster.storage import Folders

_DESCRIBED = ("domain", "licence", "difficulty", "agreement", "majority")
_UNKNOWN = "unknown: what that version left out is gone from rejected_release"


@dataclass(frozen=True)
class ReleaseDiff:
    """What differs between two versions.

    Args:
        questions: Columns change (came or went), source, question_id, answers and reason.
        answers: Of the questions that both have: columns change (came, went or changed), source, question_id,
            sample_index and reason.
        same: How many answers both have.
        described: How many of these are described otherwise, by the published column, such as licence.
        reordered: Whether these stand in another order.
    """

    questions: pl.DataFrame
    answers: pl.DataFrame
    same: int
    described: Mapping[str, int]
    reordered: bool

    def counts(self) -> pl.DataFrame:
        """Count the changes by reason: columns what, change, source, reason and count; the most frequent come first."""
        parts = [
            rows.group_by("change", "source", pl.col("reason").str.split(": ").list.first())
            .len("count")
            .select(pl.lit(what).alias("what"), "change", "source", "reason", "count")
            for what, rows in (("question", self.questions), ("answer", self.answers))
        ]
        return pl.concat(parts).sort("count", "what", "change", "source", "reason", descending=[True] + [False] * 4)


def diff(lake: Lake, before: ReleaseVersion, after: ReleaseVersion, folders: Folders | None = None) -> ReleaseDiff:
    """Say which questions and answers came, went and changed from one version to another, and why.

    Reasons are looked up in rejected_release as the two versions left it, and then in rejected_questions and
    rejected_answers as they are now.

    Args:
        lake: The tables.
        before: The one version.
        after: The other one.
        folders: Where files of versions are fetched when the tables no longer have their rows.

    Returns:
        The differences.

    Raises:
        ReleaseError: The rows of a version are nowhere any more.
    """
    old, new = (rows_of_version(lake, entry, folders) for entry in (before, after))
    left_before, left_after = (rejected_of_version(lake, entry) for entry in (before, after))
    came, went = _only_in(new, old), _only_in(old, new)
    was_left_out = f"left out of {before.version}"
    questions = pl.concat(
        [
            _explain("came", came, left_before, was_left_out, _why_new(before)),
            _explain("went", went, left_after, "", _why_gone(lake, went, after)),
        ]
    )
    both = old.select(*ROW, before="content").join(new.select(*ROW, after="content"), on=ROW, how="full", coalesce=True)
    both = both.join(questions, on=QUESTION, how="anti")
    more, fewer = both.filter(pl.col("before").is_null()), both.filter(pl.col("after").is_null())
    changed = both.filter(pl.col("before") != pl.col("after")).select(
        *ROW, reason=pl.lit("another completion is the answer"), change=pl.lit("changed")
    )
    since = pl.lit("answered since, or asked for by a larger answers_per_question").alias("reason")
    answers = pl.concat(
        [
            _explain("came", more.select(ROW), left_before, was_left_out, since),
            _explain("went", fewer.select(ROW), left_after, "", _why_unanswered(lake, fewer, after)),
            changed,
        ],
        how="diagonal",
    )
    same = old.join(new, on=[*ROW, "content"], suffix="_after").sort("position")
    differing = {name: same.filter(pl.col(name).ne_missing(pl.col(f"{name}_after"))).height for name in _DESCRIBED}
    return ReleaseDiff(
        questions.select("change", *QUESTION, "answers", "reason").sort("change", *QUESTION),
        answers.select("change", *ROW, "reason").sort("change", *ROW),
        same.height,
        {name: count for name, count in differing.items() if count},
        not same["position_after"].is_sorted(),
    )


def _only_in(rows: pl.DataFrame, others: pl.DataFrame) -> pl.DataFrame:
    counted = rows.group_by(QUESTION).len("answers")
    return counted.join(others.select(QUESTION).unique(), on=QUESTION, how="anti")


def _explain(
    change: str, rows: pl.DataFrame, rejected: pl.DataFrame | None, prefix: str, otherwise: pl.Expr | pl.DataFrame
) -> pl.DataFrame:
    """Add the columns change and reason: from what a version left out, and otherwise from the fallback."""
    rows = rows.with_columns(change=pl.lit(change))
    keys = ROW if "sample_index" in rows.columns else QUESTION
    if isinstance(otherwise, pl.DataFrame):
        rows = rows.join(otherwise, on=keys, how="left", maintain_order="left")
    else:
        rows = rows.with_columns(otherwise)
    if rejected is None:
        return rows.with_columns(reason=pl.lit(_UNKNOWN))
    own = rejected if keys == ROW else rejected.filter(pl.col("sample_index").is_null())
    said = pl.format("{}{} ({}): {}", pl.lit(f"{prefix}, " if prefix else ""), "step", "reason", "evidence")
    found = own.select(*keys, said=said).unique(keys, keep="last", maintain_order=True)
    joined = rows.join(found, on=keys, how="left", maintain_order="left")
    return joined.with_columns(reason=pl.coalesce("said", "reason")).drop("said")


def _why_new(before: ReleaseVersion) -> pl.Expr:
    known = pl.col("source").is_in(list(before.record["sources"]))
    new, arrived = "its source is new in the release", "it is new among deduped_questions"
    return pl.when(known).then(pl.lit(arrived)).otherwise(pl.lit(new)).alias("reason")


def _why_gone(lake: Lake, went: pl.DataFrame, after: ReleaseVersion) -> pl.DataFrame:
    rejected = (
        lake.scan(REJECTED_QUESTIONS)
        .filter(pl.col("source").is_in(went["source"].unique().implode()))
        .select(*QUESTION, said=pl.format("{} ({}): {}", "stage", "reason", "evidence"))
        .unique(QUESTION, keep="last")
        .collect()
    )
    known = pl.col("source").is_in(list(after.record["sources"]))
    unselected, left = "it is no longer among deduped_questions", "its source is no longer in the release"
    rest = pl.when(known).then(pl.lit(unselected)).otherwise(pl.lit(left))
    return (
        went.select(QUESTION)
        .join(rejected, on=QUESTION, how="left")
        .select(*QUESTION, reason=pl.when(known).then(pl.coalesce("said", rest)).otherwise(rest))
    )


def _why_unanswered(lake: Lake, fewer: pl.DataFrame, after: ReleaseVersion) -> pl.DataFrame:
    rejected = (
        lake.scan(REJECTED_ANSWERS, teacher=after.teacher)
        .select(*ROW, said=pl.format("rejected_answers ({}): {}", "reason", "evidence"))
        .unique(ROW, keep="last")
        .collect()
    )
    gone = pl.lit("it is no longer among teacher_answers")
    return fewer.select(ROW).join(rejected, on=ROW, how="left").select(*ROW, reason=pl.coalesce("said", gone))
