"""Ranks questions by a score."""

import numpy as np
import numpy.typing as npt
import polars as pl

Ranks = npt.NDArray[np.int64]


def rank_by_score(scored: pl.DataFrame, by: str) -> tuple[Ranks, npt.NDArray[np.float64]]:
    """Rank the questions of `scored` (question_id, and scores as JSON of name to number) by one score.

    Rank, never a threshold: the recipe asks for a number of questions, and score scales drift between judges
    (OpenThoughts, arXiv 2506.04178, section 3.3). Ties are broken by question_id so that reruns agree; a question
    whose score failed (null) comes after all others.

    Returns:
        The rank of every question, 0 for the best, and the values of the score; NaN if there is none.
    """
    number = pl.col("scores").str.json_path_match(f"$['{by}']").cast(pl.Float64, strict=False)
    ranked = (
        scored.lazy()
        .select("question_id", number.alias("value"))
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
