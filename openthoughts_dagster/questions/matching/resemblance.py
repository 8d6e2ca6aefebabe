"""Finds the benchmark questions that are similar to a text by the grams that they share.

Candidates are the benchmark questions that share the most grams, weighted by the rarity of each gram. The similarity of
every candidate is then computed exactly.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from openthoughts_dagster.questions.matching.instructions import CHUNK, hash_table
from openthoughts_dagster.questions.matching.similar import Edges, Positions, measure_pairs, sort_distinct, verify_pairs
from openthoughts_dagster.questions.matching.texts import WORKERS, Texts, in_parallel

_GRAM, _GRAM_BITS = 3, 2048
_FEW, _LEAST_ALIKE = 3, 0.25  # by all grams: letters changed all over a text leave few grams as they were
_ALIKE, _LIKELY = 24, 0.45  # questions of one pattern are all alike
_NEAREST, _LEAST_SHARE = 8, 0.08  # by rare grams, for texts that fill their bits, and those of few characters
_FULL, _FEW_GRAMS = _GRAM_BITS // 4, 128
_SHORT = 24
_BLOCK = 2048


@dataclass(frozen=True)
class Resemblance:
    """Benchmark questions, and from which similarity (rapidfuzz ratio, 0-100) on a text is similar to one."""

    known: Texts
    similarity: float

    def edges(self, texts: Texts, brute_force: bool = False) -> Edges:
        """Return the similar pairs of a text and a benchmark question; empty texts are not similar to anything."""
        edges = self._compared(texts) if brute_force else self._looked_up(texts)
        filled = (np.diff(texts.offsets)[edges.ones] > 0) & (np.diff(self.known.offsets)[edges.others] > 0)
        return Edges(edges.ones[filled], edges.others[filled], edges.ratios[filled])

    def measured(self, texts: Texts, ones: Positions, others: Positions) -> Edges:
        """Those of the pairs that are similar."""
        return measure_pairs(texts, self.known, ones, others, self.similarity)

    def _compared(self, texts: Texts) -> Edges:
        """All similar pairs, by comparing every text with every question."""
        from rapidfuzz import fuzz, process

        questions = self.known.as_list(np.arange(len(self.known)))
        ones, others, ratios = [np.empty(0, np.int64)], [np.empty(0, np.int64)], [np.empty(0)]
        for start in range(0, len(texts) if questions else 0, _BLOCK):
            block = texts.as_list(np.arange(start, min(len(texts), start + _BLOCK)))
            matrix = process.cdist(
                block, questions, scorer=fuzz.ratio, score_cutoff=self.similarity, workers=WORKERS, dtype=np.float64
            )
            row, column = np.nonzero(matrix)
            ones.append(row + start)
            others.append(column)
            ratios.append(matrix[row, column])
        return Edges(np.concatenate(ones), np.concatenate(others), np.concatenate(ratios))

    def _looked_up(self, texts: Texts) -> Edges:
        known_lengths, lengths = self.known.lengths(), texts.lengths()
        short = np.nonzero(np.abs(known_lengths) <= _SHORT)[0]
        _ = self._grams, self._by_length  # once, before threads ask for them

        def work(first: int, chunk: Texts) -> tuple[int, Positions, Positions]:
            ones, others = self._nearest(chunk, lengths[first : first + len(chunk)], known_lengths, short)
            return first, ones, others

        found: list[Edges] = []
        chunks = list(texts.chunks(CHUNK))
        for start in range(0, len(chunks), 4 * WORKERS):
            for first, ones, others in in_parallel(work, chunks[start : start + 4 * WORKERS]):
                found.append(
                    verify_pairs(texts, self.known, lengths, known_lengths, ones + first, others, self.similarity)
                )
        nothing = np.empty(0, np.int64)
        return Edges(
            np.concatenate([nothing, *(edges.ones for edges in found)]),
            np.concatenate([nothing, *(edges.others for edges in found)]),
            np.concatenate([np.empty(0), *(edges.ratios for edges in found)]),
        )

    @cached_property
    def _grams(self) -> tuple[Any, ...]:
        """The hash table of different grams, which questions have each, weights, and the weight of each question."""
        from openthoughts_dagster.questions.matching import resemblance_kernels

        number = len(self.known)
        room = len(self.known.data) + 1
        owners, hashes = np.empty(room, np.int64), np.empty(room, np.uint64)
        found = resemblance_kernels.grams_of(self.known.data, self.known.offsets, _GRAM, owners, hashes)
        pairs = pl.DataFrame({"gram": hashes[:found], "owner": owners[:found]}).unique().sort("gram", "owner")
        known = pairs.with_columns(pl.len().over("gram").alias("questions"))
        known = known.filter(pl.col("questions") <= max(64, number // 64))
        keys, begins = np.unique(known["gram"].to_numpy(), return_index=True)
        begins = np.append(begins, known.height).astype(np.int64)
        rarity = np.log2(number / np.diff(begins)) if len(keys) else np.zeros(0)
        weights = np.maximum(1, 4 * rarity).astype(np.int64)
        own = known["owner"].to_numpy()
        totals = np.bincount(own, np.repeat(weights, np.diff(begins)), number)
        return *hash_table(keys), begins, own, weights, np.maximum(totals, 1.0)

    @cached_property
    def _by_length(self) -> tuple[Any, ...]:
        """Positions of the questions from the shortest on, and their gram bits, bits set and lengths."""
        bits, filled = _gram_bits(self.known)
        lengths = np.abs(self.known.lengths())
        order = np.argsort(lengths, kind="stable")
        return order, np.ascontiguousarray(bits[order]), filled[order], lengths[order]

    def _nearest(
        self, chunk: Texts, lengths: Positions, known_lengths: Positions, short: Positions
    ) -> tuple[Positions, Positions]:
        """Pairs that are worth a comparison, sorted."""
        from openthoughts_dagster.questions.matching import resemblance_kernels

        shortest = self.similarity / (200 - self.similarity)
        bits, filled = _gram_bits(chunk)
        asked = (filled > _FULL) | (np.abs(lengths) <= _FEW_GRAMS)
        rules = shortest, _NEAREST, _LEAST_SHARE
        room, found = 0, _NEAREST * len(chunk)
        while found > room:
            room = found
            ones, others = np.empty(room, np.int64), np.empty(room, np.int64)
            found = resemblance_kernels.nearest(
                *(chunk.data, chunk.offsets, lengths, _GRAM, *self._grams, known_lengths, short, asked, *rules),
                ones,
                others,
            )
        order, *known = self._by_length
        same, patterns = np.empty(_ALIKE * len(chunk), np.int64), np.empty(_ALIKE * len(chunk), np.int64)
        more = resemblance_kernels.alike(
            *(bits, filled, lengths, *known, shortest, _FEW, _LEAST_ALIKE, _ALIKE, _LIKELY), same, patterns
        )
        number = len(self.known)
        every = sort_distinct([ones[:found] * number + others[:found], same[:more] * number + order[patterns[:more]]])
        return every // number, every % number


def _gram_bits(texts: Texts) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.int64]]:
    """A row of bits for each text, one for each of its grams, and how many are set."""
    from openthoughts_dagster.questions.matching import resemblance_kernels

    bits, filled = np.zeros((len(texts), _GRAM_BITS // 64), np.uint64), np.zeros(len(texts), np.int64)
    resemblance_kernels.gram_bits(texts.data, texts.offsets, _GRAM, bits, filled)
    return bits, filled
