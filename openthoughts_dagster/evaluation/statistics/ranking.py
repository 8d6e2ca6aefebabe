"""Ranks sources or teachers by the scores of their students."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import polars as pl

from openthoughts_dagster.evaluation.statistics.comparisons import holm_adjusted, paired_difference_over_seeds
from openthoughts_dagster.evaluation.statistics.estimates import (
    Estimate,
    clustered_mean,
    item_means,
    mean_over_items_and_seeds,
)
from openthoughts_dagster.evaluation.statistics.power import smallest_detectable_difference

By = Literal["source", "teacher"]

ALPHA = 0.05
_CELL_ITEM = ("benchmark", "item")
_SEED = "seed"
_COUNTS = ("failed", "truncated", "no_answer")
# Ranks must not depend on the order of a floating-point sum.
_DIGITS = 12


def ranking(scores: pl.DataFrame, by: By) -> pl.DataFrame:
    """Rank sources or teachers from best to worst.

    Competitors are compared on exactly the items that all of them have, over the same partitions of the other
    dimension. One that shares nothing with the others is set aside instead of emptying the comparison: its rank and
    numbers are null. A score is the mean of the benchmarks, each of equal weight.

    Args:
        scores: Columns source, teacher, benchmark, item, score and untrained_score; failed, truncated and no_answer
            are added up where they are there. Where there is a column seed, students with different seeds are told
            apart, and only seeds that all competitors have are compared.
        by: "source" or "teacher": what is ranked.

    Returns:
        One row for each competitor, ties in the order of names:

        - rank, the competitor's name, score and standard_error: over items, and over seeds where there are several;
        - seeds, and the two parts of the error: error_items, error_seeds (null with one seed);
        - difference_to_next and difference_standard_error, paired on the same items and seeds; p_value of that
          difference and significant (below 0.05), both after Holm's correction over all neighbours; null for the last.
          With one seed both are about items alone: another training seed may reverse them;
        - best: no other competitor is better by more than chance. A single `best` beats all others significantly;
        - detectable_difference: the smallest difference to the next that this design would have found;
        - z_score: mean over benchmarks of how many standard deviations the score is above the competitors' mean;
        - gain_over_untrained, items, cells, and complete: False for a competitor that lacks what another has;
        - failed, truncated and no_answer: samples of the compared items.

    Raises:
        ValueError: `by` is neither source nor teacher.
    """
    if by not in ("source", "teacher"):
        raise ValueError(f"rank by source or teacher, got {by!r}")
    other = "teacher" if by == "source" else "source"
    key = [other, *_CELL_ITEM, _SEED]
    rows = _with_counts(scores if _SEED in scores.columns else scores.with_columns(pl.lit(0).alias(_SEED)))
    means = item_means(rows, [by, *key], ["score", "untrained_score"])
    competitors = means[by].unique().sort().to_list()
    every = means.select(key).n_unique() if competitors else 0
    complete = {name: size == every for name, size in means.group_by(by).len().iter_rows()}
    compared_names = _comparable(means, by, key)
    shared = _shared(means.filter(pl.col(by).is_in(compared_names)), key, len(compared_names))
    cells, items = shared[other].n_unique(), shared.select(_CELL_ITEM).n_unique() if len(shared) else 0
    entries = [
        _Entry.of(name, *(rows.filter(pl.col(by) == name).join(shared, on=key, how="semi") for rows in (means, rows)))
        for name in competitors
        if name in compared_names and len(shared)
    ]
    entries.sort(key=lambda entry: (-round(entry.total.mean, _DIGITS), entry.name))
    differences, z_scores = _Differences.of(entries), _z_scores(entries)
    table: list[dict[str, Any]] = [
        {
            "rank": place,
            by: entry.name,
            "score": entry.total.mean,
            "standard_error": entry.total.standard_error,
            **entry.variation(),
            **differences.row(place - 1),
            "z_score": z_scores.get(entry.name),
            "gain_over_untrained": entry.gain,
            "items": items,
            "cells": cells,
            "complete": complete[entry.name],
            **entry.counts,
        }
        for place, entry in enumerate(entries, start=1)
    ]
    left = sorted(set(competitors) - {entry.name for entry in entries})
    table += [{by: name, "items": 0, "cells": 0, "complete": False} for name in left]
    return pl.DataFrame(table, schema=_schema(by))


def _schema(by: str) -> dict[str, Any]:
    return {
        "rank": pl.Int32,
        by: pl.String,
        "score": pl.Float64,
        "standard_error": pl.Float64,
        "difference_to_next": pl.Float64,
        "difference_standard_error": pl.Float64,
        "significant": pl.Boolean,
        "gain_over_untrained": pl.Float64,
        "items": pl.Int64,
        "cells": pl.Int64,
        "complete": pl.Boolean,
        "p_value": pl.Float64,
        "best": pl.Boolean,
        "detectable_difference": pl.Float64,
        "z_score": pl.Float64,
        **dict.fromkeys(_COUNTS, pl.Int64),
        "seeds": pl.Int64,
        "error_items": pl.Float64,
        "error_seeds": pl.Float64,
    }


def _with_counts(scores: pl.DataFrame) -> pl.DataFrame:
    absent = [pl.lit(None, dtype=pl.Int32).alias(name) for name in _COUNTS if name not in scores.columns]
    return scores.with_columns(absent)


def _comparable(means: pl.DataFrame, by: str, key: list[str]) -> list[str]:
    """The competitors to compare: without those that have nothing in common with the others."""
    names = means[by].unique().sort().to_list()
    while len(names) > 1:
        rows = means.filter(pl.col(by).is_in(names))
        if len(_shared(rows, key, len(names))):
            return names
        owners = rows.group_by(key).agg(owners=pl.len())
        common = rows.join(owners, on=key).group_by(by).agg(common=(pl.col("owners") - 1).sum())
        # The one that shares least goes; among equals the last by name, so that reruns agree.
        weakest = common.sort(["common", by], descending=[False, True])[by][0]
        names = [name for name in names if name != weakest]
    return names if means[by].n_unique() <= 1 else []


def _shared(rows: pl.DataFrame, key: list[str], competitors: int) -> pl.DataFrame:
    return rows.group_by(key).len().filter(pl.col("len") == competitors).select(key)


@dataclass(frozen=True)
class _Entry:
    """A competitor: its items' scores by benchmark, and what they come to."""

    name: str
    scores: pl.DataFrame
    total: Estimate
    gain: float | None
    counts: dict[str, int | None]

    @staticmethod
    def of(name: str, means: pl.DataFrame, rows: pl.DataFrame) -> "_Entry":
        items = item_means(means, [*_CELL_ITEM, _SEED])
        total = mean_over_items_and_seeds(items)
        known = means.filter(pl.col("untrained_score").is_not_null())
        gains = known.with_columns(score=pl.col("score") - pl.col("untrained_score"))
        parts = item_means(gains, list(_CELL_ITEM)).group_by("benchmark", maintain_order=True).agg(pl.mean("score"))
        gain = parts["score"].mean()
        counts = {name: None if rows[name].null_count() else int(rows[name].sum()) for name in _COUNTS}
        known_gain = gain if isinstance(gain, float) else None
        return _Entry(name, items, total, known_gain, counts)

    def minus(self, other: "_Entry") -> Estimate:
        """Return the paired difference to another competitor."""
        estimate = paired_difference_over_seeds(self.scores, other.scores)
        error = None if estimate.standard_error is None else round(estimate.standard_error, _DIGITS)
        return replace(estimate, mean=round(estimate.mean, _DIGITS), standard_error=error)

    def variation(self) -> dict[str, float | int | None]:
        """Return the number of seeds, and how much the score varies over items alone and over seeds alone."""
        if (crossed := self.total.crossed) is None:
            return {"seeds": 1, "error_items": self.total.standard_error, "error_seeds": None}
        items, seeds = math.sqrt(crossed.of_items.sum()), math.sqrt(crossed.of_seeds)
        return {"seeds": crossed.seeds, "error_items": items, "error_seeds": seeds}


@dataclass(frozen=True)
class _Differences:
    """Every neighbour to the next, and the first to every other, each family under Holm's correction."""

    to_next: list[Estimate]
    p_values: dict[str, float | None]
    best: list[bool]

    @staticmethod
    def of(entries: Sequence[_Entry]) -> "_Differences":
        to_next = [entry.minus(entries[place]) for place, entry in enumerate(entries[:-1], start=1)]
        p_values = holm_adjusted({str(place): estimate.p_value for place, estimate in enumerate(to_next)})
        behind = holm_adjusted(
            {str(place): entries[0].minus(entry).p_value for place, entry in enumerate(entries[1:], start=1)}
        )
        beaten = {place for place, value in behind.items() if value is not None and value < ALPHA}
        return _Differences(to_next, p_values, [str(place) not in beaten for place in range(len(entries))])

    def row(self, place: int) -> dict[str, float | bool | None]:
        if place >= len(self.to_next):
            return {"best": self.best[place]}
        estimate, p_value = self.to_next[place], self.p_values[str(place)]
        return {
            "difference_to_next": estimate.mean,
            "difference_standard_error": estimate.standard_error,
            "significant": p_value is not None and p_value < ALPHA,
            "p_value": p_value,
            "best": self.best[place],
            "detectable_difference": smallest_detectable_difference(estimate, ALPHA, comparisons=len(self.to_next)),
        }


def _z_scores(entries: Sequence[_Entry]) -> dict[str, float]:
    """Means over benchmarks of the standardized scores: a benchmark on which all are close counts like any other."""
    if len(entries) < 2:
        return {}
    totals = dict.fromkeys((entry.name for entry in entries), 0.0)
    benchmarks = entries[0].scores["benchmark"].unique().sort().to_list()
    for benchmark in benchmarks:
        values = [clustered_mean(entry.scores.filter(benchmark=benchmark)).mean for entry in entries]
        mean = sum(values) / len(values)
        deviation = math.sqrt(sum((value - mean) ** 2 for value in values) / (len(values) - 1))
        for entry, value in zip(entries, values, strict=True):
            if round(deviation, _DIGITS):
                totals[entry.name] += (value - mean) / deviation / len(benchmarks)
    return totals
