"""Ranks questions by a score, and finds those whose scores are outside of the wanted ranges."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from openthoughts_dagster.recipe import ScoreRange

Ranks = npt.NDArray[np.int64]


@dataclass(frozen=True)
class OutOfRange:
    """The questions that are outside of the ranges of a selection.

    `first` is for each question the position of the first range that it is outside of, or -1; `values` has its value of
    that score, NaN when it has none.
    """

    ranges: Mapping[str, ScoreRange]
    first: npt.NDArray[np.int16]
    values: npt.NDArray[np.float64]

    @property
    def inside(self) -> npt.NDArray[np.bool_]:
        """Whether each question is within all ranges."""
        inside: npt.NDArray[np.bool_] = self.first < 0
        return inside

    def evidence(self, position: int) -> dict[str, Any] | None:
        """Return the score, the value and the range that a question is outside of; None when it is within all."""
        if self.first[position] < 0:
            return None
        name, wanted = list(self.ranges.items())[self.first[position]]
        value = float(self.values[position])
        return {"score": name, **({} if np.isnan(value) else {"value": value}), **wanted.model_dump(exclude_none=True)}


def find_out_of_range(scored: pl.DataFrame, ranges: Mapping[str, ScoreRange]) -> OutOfRange:
    """Find the questions that are outside of a range, or that lack a score which has a range.

    Args:
        scored: A column `scores` (JSON of name to number).
        ranges: The wanted values by name of the score.
    """
    first, found = np.full(scored.height, -1, np.int16), np.full(scored.height, np.nan)
    for place, (name, wanted) in enumerate(ranges.items()):
        values = scored.select(_score(name)).to_series().fill_null(float("nan")).to_numpy()
        low = -np.inf if wanted.minimum is None else wanted.minimum
        high = np.inf if wanted.maximum is None else wanted.maximum
        out = (first < 0) & ~((values >= low) & (values <= high))  # NaN is in no range
        first[out], found[out] = place, values[out]
    return OutOfRange(ranges, first, found)


def inside_first(rank: Ranks, out: OutOfRange) -> Ranks:
    """Rank the questions within the ranges first, so that no other takes up a place."""
    return _ranks(pl.Series(np.lexsort((rank, ~out.inside))))


def _score(name: str) -> pl.Expr:
    return pl.col("scores").str.json_path_match(f"$['{name}']").cast(pl.Float64, strict=False)


def rank_by_score(scored: pl.DataFrame, by: str) -> tuple[Ranks, npt.NDArray[np.float64]]:
    """Rank the questions of `scored` (question_id, and scores as JSON of name to number) by one score.

    Rank, never a threshold: the recipe asks for a number of questions, and score scales drift between judges
    (OpenThoughts, arXiv 2506.04178, section 3.3). Ties are broken by question_id so that reruns agree; a question
    whose score failed (null) comes after all others.

    Returns:
        The rank of every question, 0 for the best, and the values of the score; NaN if there is none.
    """
    ranked = (
        scored.lazy()
        .select("question_id", _score(by).alias("value"))
        .with_row_index("position")
        .sort("value", "question_id", descending=[True, False], nulls_last=True)
        .select("position", "value")
        .collect()
    )
    rank = _ranks(ranked["position"])
    values = np.empty(len(rank), np.float64)
    values[ranked["position"].to_numpy()] = ranked["value"].fill_null(float("nan")).to_numpy()
    return rank, values


def without_copies(rank: Ranks, hashes: npt.NDArray[np.uint64]) -> Ranks:
    """Rank the different texts; copies, which have the same hash, share the rank of the best one."""
    order = np.argsort(rank)
    _, first, group = np.unique(hashes[order], return_index=True, return_inverse=True)
    places = np.empty(len(first), np.int64)
    places[np.argsort(first)] = np.arange(len(first))
    out = np.empty(len(rank), np.int64)
    out[order] = places[group]
    return out


def rank_by_id(ids: pl.Series) -> Ranks:
    """Rank by question_id, so that reruns agree if nothing is selected by a score."""
    return _ranks(ids.arg_sort())


def _ranks(order: pl.Series) -> Ranks:
    rank = np.empty(len(order), np.int64)
    rank[order.to_numpy()] = np.arange(len(order))
    return rank
