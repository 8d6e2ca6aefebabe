"""Finds duplicates, exact or similar, in connected components; one text of each component stays."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from openthoughts_dagster.questions.matching.differences import Vocabulary, same_problems
from openthoughts_dagster.questions.matching.similar import Edges, Positions, find_similar_pairs, measure_pairs
from openthoughts_dagster.questions.matching.texts import WORKERS, Texts
from openthoughts_dagster.recipe import Dedup

_BLOCK = 512


@dataclass(frozen=True)
class Duplicates:
    """The dropped texts, in order: their positions, the text that each repeats, the ratio, and the text that stays.

    A text is compared with the one that stays. If it is similar to that one only through other texts, `of` is the most
    similar of those. `exact` says that only white space differs.
    """

    positions: Positions
    of: Positions
    ratios: npt.NDArray[np.float64]
    kept: Positions
    exact: npt.NDArray[np.bool_]


def find_duplicates(
    texts: Texts, rank: Positions, settings: Dedup, pairs: Callable[[Texts, float], Edges] = find_similar_pairs
) -> Duplicates:
    """Find the texts that repeat another one; the text with the smallest `rank` of a component stays.

    Exact duplicates are equal but for white space around the text and at the ends of its lines. Fuzzy ones have a
    ratio of `settings.similarity` or more and, when `settings.same_numbers`, differ in nothing but formatting and
    misspellings. `pairs` finds the similar ones.
    """
    first = _first_of_equals(texts, rank)
    exact = np.nonzero(first != np.arange(len(texts)))[0]
    if settings.method != "fuzzy":
        return Duplicates(exact, first[exact], np.full(len(exact), 100.0), first[exact], np.ones(len(exact), np.bool_))
    distinct = np.nonzero(first == np.arange(len(texts)))[0]
    subset = texts.subset(distinct) if len(exact) else texts
    edges = (all_pairs if settings.brute_force else pairs)(subset, settings.similarity)
    vocabulary = Vocabulary(subset) if settings.same_numbers else None
    if vocabulary is not None:
        edges = same_problems(vocabulary, edges)
    positions, of, ratios, kept = _components(subset, rank[distinct], edges, settings, vocabulary)
    stays = np.arange(len(texts))
    stays[distinct[positions]] = distinct[kept]
    every = np.concatenate([exact, distinct[positions]])
    order = np.argsort(every, kind="stable")
    return Duplicates(
        every[order],
        np.concatenate([first[exact], distinct[of]])[order],
        np.concatenate([np.full(len(exact), 100.0), ratios])[order],
        stays[np.concatenate([first[exact], distinct[positions]])][order],
        (np.arange(len(every)) < len(exact))[order],
    )


def all_pairs(texts: Texts, similarity: float) -> Edges:
    """Find all similar pairs by comparing every pair: exact, in quadratic time."""
    from rapidfuzz import fuzz, process

    every = texts.as_list(np.arange(len(texts)))
    ones, others, ratios = [np.empty(0, np.int64)], [np.empty(0, np.int64)], [np.empty(0)]
    for start in range(0, len(every), _BLOCK):
        matrix = process.cdist(
            every[start : start + _BLOCK],
            every[start:],
            scorer=fuzz.ratio,
            score_cutoff=similarity,
            dtype=np.float64,
            workers=WORKERS,
        )
        row, column = np.nonzero(matrix)
        later = column > row
        ones.append(row[later] + start)
        others.append(column[later] + start)
        ratios.append(matrix[row[later], column[later]])
    return Edges(np.concatenate(ones), np.concatenate(others), np.concatenate(ratios))


def _first_of_equals(texts: Texts, rank: Positions) -> Positions:
    """For each text the one with the smallest rank that equals it; hashes find them, the texts decide."""
    hashes = texts.hashes()
    order = np.lexsort((rank, hashes))
    begins = np.concatenate([np.ones(1, np.bool_), hashes[order][1:] != hashes[order][:-1]])[: len(order)]
    leaders = order[np.maximum.accumulate(np.where(begins, np.arange(len(order)), 0))] if len(order) else order
    first = np.empty(len(texts), np.int64)
    first[order] = leaders
    for position in np.nonzero(first != np.arange(len(texts)))[0]:
        leader = int(first[position])
        if not _equal(texts, int(position), leader):  # 64-bit hashes of different texts: never seen, never trusted
            first[position] = position
    return first


def _equal(texts: Texts, one: int, other: int) -> bool:
    a, b = texts[one], texts[other]
    return a == b or plain(a) == plain(b)


def plain(text: str) -> str:
    """`text` without ASCII white space around it and at the ends of its lines: what exact duplicates share."""
    blank = " \t\r\x0b\x0c"
    return "\n".join(line.rstrip(blank) for line in text.strip(blank + "\n").split("\n"))


def _components(
    texts: Texts, rank: Positions, edges: Edges, settings: Dedup, vocabulary: Vocabulary | None
) -> tuple[Positions, Positions, npt.NDArray[np.float64], Positions]:
    """Texts that go, what they repeat, the ratio, and what stays, by position."""
    from openthoughts_dagster.questions.matching import pair_kernels

    roots = np.arange(len(texts))
    pair_kernels.join_components(roots, edges.ones, edges.others)
    order = np.lexsort((rank, roots))
    begins = np.concatenate([np.ones(1, np.bool_), roots[order][1:] != roots[order][:-1]])[: len(order)]
    best = np.empty(len(texts), np.int64)
    best[order] = order[np.maximum.accumulate(np.where(begins, np.arange(len(order)), 0))] if len(order) else order
    positions = np.nonzero(best != np.arange(len(texts)))[0]
    kept = best[positions]
    of, ratios = kept.copy(), _ratios(edges, positions, kept, len(texts))
    rest = np.nonzero(ratios == 0)[0]  # joined to what stays by way of others, and perhaps similar to it all the same
    more = measure_pairs(texts, texts, positions[rest], kept[rest], settings.similarity)
    if vocabulary is not None:
        more = same_problems(vocabulary, more)
    ratios[np.searchsorted(positions, more.ones)] = more.ratios
    direct = ratios > 0
    if not direct.all():
        both = np.concatenate([edges.ones, edges.others]), np.concatenate([edges.others, edges.ones])
        weights = np.concatenate([edges.ratios, edges.ratios])
        ranked = np.lexsort((both[1], -weights, both[0]))
        ones, others, weights = both[0][ranked], both[1][ranked], weights[ranked]
        at = np.searchsorted(ones, positions[~direct])
        of[~direct], ratios[~direct] = others[at], weights[at]
    return positions, of, ratios, kept


def _ratios(edges: Edges, ones: Positions, others: Positions, number: int) -> npt.NDArray[np.float64]:
    """Ratios of pairs that are among the edges of so many texts, and 0 of all others."""

    def keys(some: Positions, more: Positions) -> Positions:
        return np.minimum(some, more) * number + np.maximum(some, more)

    known, wanted = keys(edges.ones, edges.others), keys(ones, others)
    order = np.argsort(known)
    found = order[np.searchsorted(known, wanted, sorter=order).clip(max=len(known) - 1)]
    return np.where(known[found] == wanted, edges.ratios[found], 0.0)
