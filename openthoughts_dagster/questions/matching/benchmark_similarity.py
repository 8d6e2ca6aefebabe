"""Finds texts that are similar to a benchmark question, whatever instructions stand around either of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from openthoughts_dagster.questions.matching.resemblance import Resemblance
from openthoughts_dagster.questions.matching.similar import Edges, Positions
from openthoughts_dagster.questions.matching.texts import Texts

_LOST_BY_NORMALIZING = 2.0  # letters that were changed all over a text weigh more in its shorter normalized form


@dataclass(frozen=True)
class CutTexts:
    """The same texts as they are, in the form in which they are compared, and in that form without instructions."""

    raw: Texts
    whole: Texts
    rest: Texts


@dataclass(frozen=True)
class BenchmarkSimilarity:
    """Benchmark questions as they are and as they are compared, and the similarity (0-100) that makes a leak."""

    raw: Texts
    whole: Texts
    similarity: float

    def find(self, texts: CutTexts, rest: Texts, positions: Positions, brute_force: bool) -> Edges:
        """Find the similar pairs of a text and a question, compared without the instructions of both.

        Where both had instructions, the whole texts are similar as well: other instructions make other questions. A
        text without any is compared with whole questions too: letters changed all over it hide its instructions. A text
        from which nothing was left out is also similar if it was similar enough before it was normalized.

        Args:
            texts: The texts of a source.
            rest: The benchmark questions without instructions.
            positions: The texts that are looked at.
            brute_force: Compare every text with every question, instead of likely pairs only.

        Returns:
            The pairs, each at least once.
        """
        cut, cut_known = _shorter(texts.rest, texts.whole), _shorter(rest, self.whole)
        resemblance = Resemblance(rest, self._least) if cut_known.any() else self._of_whole
        some = texts.rest if len(positions) == len(texts.rest) else texts.rest.subset(positions)
        edges = _renumber(resemblance.edges(some, brute_force), positions)
        either, both = cut[edges.ones] | cut_known[edges.others], cut[edges.ones] & cut_known[edges.others]
        kept = ~both | self._similar_as_a_whole(texts.whole, edges, both)
        certain = _select(edges, kept & (edges.ratios >= self.similarity))
        edges = _select(edges, ~either & (edges.ratios < self.similarity))
        if cut_known.any():
            with_none, chosen = positions[~cut[positions]], np.nonzero(cut_known)[0]
            of_chosen = Resemblance(self.whole.subset(chosen), self._least)
            more = of_chosen.edges(texts.whole.subset(with_none), brute_force)
            edges = _concatenate([edges, _renumber(more, with_none, chosen)])
        return _concatenate([certain, self._confirm(texts.raw, edges)])

    def _similar_as_a_whole(self, texts: Texts, edges: Edges, asked: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
        """Which of the asked pairs are similar with their instructions."""
        found = self._of_whole.measured(texts, edges.ones[asked], edges.others[asked])
        number = len(self.whole)
        return np.isin(edges.ones * number + edges.others, found.ones * number + found.others)

    def _confirm(self, raw: Texts, edges: Edges) -> Edges:
        """The pairs that are similar enough in the form in which they were compared, or else as they are."""
        enough = edges.ratios >= self.similarity
        others = _select(edges, ~enough)
        as_they_are = Resemblance(self.raw, self.similarity).measured(raw, others.ones, others.others)
        return _concatenate([_select(edges, enough), as_they_are])

    @property
    def _least(self) -> float:
        """The least similarity of texts in the form in which they are compared that is looked at."""
        return self.similarity if self.whole is self.raw else max(0.0, self.similarity - _LOST_BY_NORMALIZING)

    @cached_property
    def _of_whole(self) -> Resemblance:
        return Resemblance(self.whole, self._least)


def _shorter(ones: Texts, others: Texts) -> npt.NDArray[np.bool_]:
    return np.diff(ones.offsets) < np.diff(others.offsets)


def _renumber(edges: Edges, ones: Positions, others: Positions | None = None) -> Edges:
    """Pairs of chosen texts as pairs of all texts."""
    return Edges(ones[edges.ones], edges.others if others is None else others[edges.others], edges.ratios)


def _select(edges: Edges, kept: npt.NDArray[np.bool_]) -> Edges:
    return Edges(edges.ones[kept], edges.others[kept], edges.ratios[kept])


def _concatenate(parts: Sequence[Edges]) -> Edges:
    return Edges(
        np.concatenate([part.ones for part in parts]),
        np.concatenate([part.others for part in parts]),
        np.concatenate([part.ratios for part in parts]),
    )
