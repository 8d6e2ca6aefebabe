"""Decides whether two similar texts ask the same, because they differ only in formatting or a misspelling.

Spacing, letter case, typography, punctuation of sentences and spellings of one LaTeX symbol are formatting; where
white space is part of a program, indentation is not. A misspelling is a word that the corpus does not know in the place
of one that is spelled nearly the same. Everything else makes two problems: a number in any script, a sign, a command,
another word, a word more or less.
"""

import numpy as np
import numpy.typing as npt
import polars as pl

from openthoughts_dagster.questions.matching.instructions import hash_table
from openthoughts_dagster.questions.matching.similar import Edges
from openthoughts_dagster.questions.matching.texts import WORKERS, Texts, in_parallel, split

_CHUNK = 1 << 20
_CONTEXTS = 2  # from which on a word is one of the corpus
_RARER = 50  # times: so much rarer than the word in its place is a misspelling that many make

# Spellings of one symbol. What stands for nothing is formatting.
_SPELLINGS = {
    "×": r"\times", "÷": r"\div", "·": r"\cdot", "⋅": r"\cdot", "±": r"\pm", "−": "-", "–": "-", "—": "-", "‐": "-",
    "≤": r"\le", r"\leq": r"\le", r"\leqslant": r"\le", "≥": r"\ge", r"\geq": r"\ge", r"\geqslant": r"\ge",
    "≠": r"\ne", r"\neq": r"\ne", "→": r"\to", r"\rightarrow": r"\to", "∞": r"\infty", "√": r"\sqrt", "∈": r"\in",
    "∑": r"\sum", "∏": r"\prod", "∫": r"\int", "≈": r"\approx", "≡": r"\equiv", "∠": r"\angle", "°": r"\circ",
    "…": "", r"\ldots": "", r"\dots": "", r"\cdots": "", r"\dfrac": r"\frac", r"\tfrac": r"\frac",
    r"\lbrace": r"\{", r"\rbrace": r"\}", r"\vert": "|", r"\mid": "|", r"\lt": "<", r"\gt": ">",
    "“": '"', "”": '"', "„": '"', "«": '"', "»": '"', "‘": "'", "’": "'", "`": "", "´": "'",
    r"\left": "", r"\right": "", r"\displaystyle": "", r"\textstyle": "", r"\quad": "", r"\qquad": "",
    r"\(": "", r"\)": "", r"\[": "", r"\]": "", r"\,": "", r"\;": "", r"\!": "", r"\:": "", r"\ ": "",
    "，": "", "。": "", "、": "", "．": "", "\u00a0": "", "\u3000": "", "\u200b": "", "\ufeff": "", "\u2009": "",
    "\u202f": "", "\u00ad": "", "\u200c": "", "\u200d": "", "•": "",
}  # fmt: skip
_NUMBERS = """
zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen
nineteen twenty thirty forty fifty sixty seventy eighty ninety hundred thousand million billion trillion
first second third fourth fifth sixth seventh eighth ninth tenth half halves quarter quarters once twice thrice double
triple dozen thirds fourths fifths sixths sevenths eighths ninths tenths
""".split()  # noqa: SIM905 - read as text


class Marks:
    """The marks of texts, as mark_kernels makes them."""

    def __init__(self, texts: Texts) -> None:
        from openthoughts_dagster.questions.matching import mark_kernels

        room = 2 * int(texts.offsets[-1] - texts.offsets[0]) + 1
        self.data = texts.data
        self.values, self.kinds = np.empty(room, np.uint64), np.empty(room, np.uint8)
        self.starts, self.ends = np.empty(room, np.int64), np.empty(room, np.int64)
        self.offsets = np.empty(len(texts) + 1, np.int64)
        mark_kernels.marks(
            *(texts.data, texts.offsets, *_spellings(), self.values, self.kinds, self.starts, self.ends, self.offsets)
        )


class Vocabulary:
    """The words of a corpus, as far as they were asked for: every look at the corpus takes a while."""

    def __init__(self, texts: Texts) -> None:
        self.texts = texts
        self._words, self._known = np.zeros(0, np.uint64), np.zeros(0, np.bool_)
        self._counts = np.zeros(0, np.int64)

    def misspells(self, ones: npt.NDArray[np.uint64], others: npt.NDArray[np.uint64]) -> npt.NDArray[np.bool_]:
        """Return which pairs of words can be a word and its misspelling: the corpus hardly has one of them."""
        if len(new := np.setdiff1d(np.concatenate([ones, others]), self._words)):
            known, counts = _known(self.texts, new)
            words = np.concatenate([self._words, new])
            order = np.argsort(words)
            self._words, self._known = words[order], np.concatenate([self._known, known])[order]
            self._counts = np.concatenate([self._counts, counts])[order]
        one, other = np.searchsorted(self._words, ones), np.searchsorted(self._words, others)
        counts, more = self._counts[one], self._counts[other]
        rarer = np.minimum(counts, more) * _RARER < np.maximum(counts, more)
        return ~(self._known[one] & self._known[other]) | rarer


def same_problems(vocabulary: Vocabulary, edges: Edges) -> Edges:
    """Return the pairs of similar texts of a corpus that ask the same."""
    texts, pairs = vocabulary.texts, np.arange(len(edges.ones))
    kept = np.zeros(len(pairs), np.bool_)

    def work(first: int, last: int) -> pl.DataFrame:
        own = slice(first, last)
        used, places = np.unique(np.concatenate([edges.ones[own], edges.others[own]]), return_inverse=True)
        return _compared(texts.subset(used), places[: last - first], places[last - first :], kept[own], first)

    open_ = pl.concat(in_parallel(work, split(len(pairs), max(WORKERS, len(pairs) // 50_000))))
    misspelt = vocabulary.misspells(open_["word"].to_numpy(), open_["instead"].to_numpy())
    kept[open_["pair"].to_numpy()[~misspelt]] = False
    return Edges(edges.ones[kept], edges.others[kept], edges.ratios[kept])


def _compared(
    texts: Texts, ones: npt.NDArray[np.int64], others: npt.NDArray[np.int64], same: npt.NDArray[np.bool_], base: int
) -> pl.DataFrame:
    """Fill `same`; returns the pairs that are the same if one word is a misspelling of the other."""
    from openthoughts_dagster.questions.matching import difference_kernels

    marks, numbers = Marks(texts), _number_names()
    room, found = 0, 2 * len(ones) + 64
    while found > room:
        room = found
        pairs, changed, changed_to = np.empty(room, np.int64), np.empty(room, np.int64), np.empty(room, np.int64)
        found = difference_kernels.compare(
            *(marks.data, marks.values, marks.kinds, marks.starts, marks.ends, marks.offsets, numbers),
            *(ones, others, same, pairs, changed, changed_to),
        )
    values = marks.values
    return pl.DataFrame(
        {"pair": pairs[:found] + base, "word": values[changed[:found]], "instead": values[changed_to[:found]]}
    )


def _known(texts: Texts, words: npt.NDArray[np.uint64]) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.int64]]:
    """Which words are of the corpus, because they stand in different contexts, and how often each occurs."""
    from openthoughts_dagster.questions.matching import difference_kernels

    cells, places = hash_table(words)

    def work(_: int, part: Texts) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.uint64]]:
        marks, counts = Marks(part), np.zeros(len(words), np.int64)
        contexts = np.zeros((len(words), _CONTEXTS), np.uint64)
        difference_kernels.word_contexts(
            *(marks.values, marks.kinds, marks.offsets, cells, places, _CONTEXTS, counts, contexts)
        )
        return counts, contexts

    counts, seen = np.zeros(len(words), np.int64), np.zeros((len(words), 0), np.uint64)
    for more, contexts in in_parallel(work, texts.chunks(max(_CHUNK, len(texts.data) // (4 * WORKERS)))):
        counts += more
        seen = np.concatenate([seen, contexts], axis=1)
        seen.sort(axis=1)
        seen[:, 1:][seen[:, 1:] == seen[:, :-1]] = 0
        seen.sort(axis=1)
        seen = seen[:, -_CONTEXTS:]
    return (seen > 0).sum(axis=1) >= _CONTEXTS, counts


def _spellings() -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.uint64]]:
    keys = _hashes(list(_SPELLINGS), lower=False)
    meant = _hashes([meaning or " " for meaning in _SPELLINGS.values()], lower=False)
    meant[[not meaning for meaning in _SPELLINGS.values()]] = 0
    cells, places = hash_table(keys)
    return cells, np.where(places >= 0, meant[places], np.uint64(0))


def _number_names() -> npt.NDArray[np.uint64]:
    return hash_table(_hashes(_NUMBERS, lower=True))[0]


def _hashes(names: list[str], lower: bool) -> npt.NDArray[np.uint64]:
    from openthoughts_dagster.questions.matching import mark_kernels

    texts = Texts.of(pl.Series(names, dtype=pl.String))
    bounds = zip(texts.offsets[:-1], texts.offsets[1:], strict=True)
    return np.array([mark_kernels.hashed_bytes(texts.data, start, end, lower) for start, end in bounds], np.uint64)
