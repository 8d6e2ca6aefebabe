"""Scores with error bars, differences, and rankings.

Items are the clusters: answers to one question err together, so repeats and cells are averaged within an item and
the standard error is taken over items (Miller 2024, "Adding Error Bars to Evals", arXiv 2411.00640, sections 2 and
3). It rests on the central limit theorem: below some 30 items take it as a lower bound.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import polars as pl

_CELL_ITEM = ("benchmark", "item")
# Ranks must not turn on the order of a floating-point sum.
_DIGITS = 12


@dataclass(frozen=True)
class Estimate:
    """A mean, its standard error over `items` items; the error is None with fewer than two items."""

    mean: float
    standard_error: float | None
    items: int


def clustered_mean(scores: pl.DataFrame) -> Estimate:
    """Mean of `score` with each `item` as a cluster; rows of one item are its repeats and weigh as one.

    Raises ValueError when there is no row.
    """
    means = _item_means(scores, ["item"])["score"]
    if not len(means):
        raise ValueError("no scores to average")
    mean, deviation = means.mean(), means.std()
    assert isinstance(mean, float)
    error = deviation / math.sqrt(len(means)) if isinstance(deviation, float) else None
    return Estimate(mean, error, len(means))


def paired_difference(a: pl.DataFrame, b: pl.DataFrame) -> Estimate:
    """Mean of a - b over the items that both have, with its standard error (Miller 2024, section 4).

    Hard items are hard for both, so the pairs say more than two separate errors. Columns item and score; raises
    ValueError when no item is shared.
    """
    pairs = _item_means(a, ["item"]).join(_item_means(b, ["item"]), on="item", suffix="_b")
    if pairs.is_empty():
        raise ValueError("no item was answered by both")
    return clustered_mean(pairs.select("item", score=pl.col("score") - pl.col("score_b")))


def ranking(scores: pl.DataFrame, by: Literal["source", "teacher"]) -> pl.DataFrame:
    """Sources, or teachers, from best to worst.

    `scores` has source, teacher, benchmark, item, score and untrained_score. Competitors are compared on exactly the
    items that all of them have, over the same partitions of the other dimension: `cells` of those, `items` items.
    `complete` is False for a competitor that lacks something another has; when nothing is common to all, rank and
    numbers are null. A score is the mean of the benchmarks, each of equal weight, and its standard error combines
    theirs. `difference_to_next` is paired, and `significant` when over 2 standard errors; both are null for the last.
    Ties are in the order of names and share no rank. Raises ValueError for another `by`.
    """
    if by not in ("source", "teacher"):
        raise ValueError(f"rank by source or teacher, got {by!r}")
    other = "teacher" if by == "source" else "source"
    rows = _item_means(scores, [by, other, *_CELL_ITEM], ["score", "untrained_score"])
    competitors = rows[by].unique().sort().to_list()
    key = [other, *_CELL_ITEM]
    shared = rows.group_by(key).len().filter(pl.col("len") == len(competitors)).select(key)
    every = rows.select(key).n_unique() if competitors else 0
    complete = {name: size == every for name, size in rows.group_by(by).len().iter_rows()}
    compared = rows.join(shared, on=key, how="semi")
    cells, items = shared[other].n_unique(), shared.select(_CELL_ITEM).n_unique() if len(shared) else 0
    entries = [_Entry.of(name, compared.filter(pl.col(by) == name)) for name in competitors]
    entries.sort(key=lambda entry: (-round(entry.score, _DIGITS) if entry.score is not None else 0.0, entry.name))
    ranked = bool(len(shared))
    return pl.DataFrame(
        [
            {
                "rank": place if ranked else None,
                by: entry.name,
                "score": entry.score,
                "standard_error": entry.standard_error,
                **_difference(entry, entries[place] if ranked and place < len(entries) else None),
                "gain_over_untrained": entry.gain,
                "items": items,
                "cells": cells,
                "complete": complete[entry.name],
            }
            for place, entry in enumerate(entries, start=1)
        ],
        schema={
            "rank": pl.Int32,
            by: pl.String,
            "score": pl.Float64,
            "standard_error": pl.Float64,
            "difference_to_next": pl.Float64,
            "difference_standard_error": pl.Float64,
            "significant": pl.Boolean,
            "gain_over_untrained": pl.Float64,
            "items": pl.Int32,
            "cells": pl.Int32,
            "complete": pl.Boolean,
        },
    )


@dataclass(frozen=True)
class _Entry:
    """A competitor: its items' scores by benchmark, and what they come to."""

    name: str
    by_benchmark: dict[str, pl.DataFrame]
    score: float | None
    standard_error: float | None
    gain: float | None

    @staticmethod
    def of(name: str, rows: pl.DataFrame) -> "_Entry":
        items = _item_means(rows, list(_CELL_ITEM))
        by_benchmark = {str(key[0]): frame for key, frame in items.partition_by("benchmark", as_dict=True).items()}
        if not by_benchmark:
            return _Entry(name, {}, None, None, None)
        total = _macro([clustered_mean(frame) for frame in by_benchmark.values()])
        known = rows.filter(pl.col("untrained_score").is_not_null())
        gains = known.with_columns(score=pl.col("score") - pl.col("untrained_score"))
        parts = _item_means(gains, list(_CELL_ITEM)).group_by("benchmark", maintain_order=True).agg(pl.mean("score"))
        gain = parts["score"].mean()
        return _Entry(name, by_benchmark, total.mean, total.standard_error, gain if isinstance(gain, float) else None)


def _difference(entry: _Entry, following: _Entry | None) -> dict[str, float | bool | None]:
    if following is None:
        return {"difference_to_next": None, "difference_standard_error": None, "significant": None}
    pairs = [paired_difference(frame, following.by_benchmark[name]) for name, frame in entry.by_benchmark.items()]
    estimate = _macro(pairs)
    error = estimate.standard_error
    return {
        "difference_to_next": estimate.mean,
        "difference_standard_error": error,
        "significant": error is not None and round(abs(estimate.mean), _DIGITS) > round(2 * error, _DIGITS),
    }


def _macro(parts: Sequence[Estimate]) -> Estimate:
    """Mean of independent benchmarks, each of equal weight."""
    errors = [part.standard_error for part in parts if part.standard_error is not None]
    error = math.sqrt(sum(error**2 for error in errors)) / len(parts) if len(errors) == len(parts) else None
    return Estimate(sum(part.mean for part in parts) / len(parts), error, sum(part.items for part in parts))


def _item_means(rows: pl.DataFrame, key: Sequence[str], values: Sequence[str] = ("score",)) -> pl.DataFrame:
    return rows.group_by(key).agg(pl.col(value).cast(pl.Float64).mean() for value in values).sort(key)
