"""An index of benchmark questions that finds the texts which repeat one, in whole or in part.

Runs of words are looked up in a hash table. Similar texts are looked for among the benchmark questions that share the
most grams, weighed by how rare each is, and verified exactly: nothing counts as similar that is not.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from openthoughts_dagster.questions.decisions import shown
from openthoughts_dagster.questions.ngrams import CommonNgram, words_of
from openthoughts_dagster.questions.similar import Positions, distinct, verified
from openthoughts_dagster.questions.texts import WORKERS, Texts, in_parallel

_GRAM, _GRAM_BITS = 3, 2048
_FEW, _LEAST_ALIKE = 3, 0.25  # by all grams: letters changed all over a text leave few grams as they were
_ALIKE, _LIKELY = 64, 0.45  # questions of one pattern are all alike
_NEAREST, _LEAST_SHARE = 8, 0.08  # by rare grams, for texts that fill their bits, and those of few characters
_FULL, _FEW_GRAMS = _GRAM_BITS // 4, 128
_CHUNK = 1 << 20  # bytes of text that a thread works on
_SHORT = 24
LEAST_OF_BENCHMARK, LEAST_OF_SOURCE = 10, 50


@dataclass(frozen=True, slots=True)
class Leak:
    """A text that repeats a benchmark question: by a shared run of words, or by its similarity (0-100)."""

    position: int
    question: int
    shared: str | None = None
    similarity: float | None = None


@dataclass(frozen=True)
class BenchmarkIndex:
    """Benchmark questions: columns benchmark, question and, where it is known, split."""

    questions: pl.DataFrame
    ngram: int | None
    similarity: float | None
    common_share: float | None

    @cached_property
    def texts(self) -> Texts:
        """The questions."""
        return Texts.of(self.questions["question"])

    def evidence(self, leak: Leak) -> Mapping[str, object]:
        """What a person needs to agree: which benchmark and split, both texts, and what they share."""
        found = {"shared": leak.shared} if leak.shared is not None else {"similarity": leak.similarity}
        origin, text = self._shown[leak.question]
        return {**origin, **found, "text": text}

    @cached_property
    def _shown(self) -> list[tuple[dict[str, object], str]]:
        """Benchmark, split and text of each question, which a million leaks share."""
        return [
            ({"benchmark": row["benchmark"], "split": row.get("split")}, shown(row["question"], 1000))
            for row in self.questions.iter_rows(named=True)
        ]

    def leaks(self, texts: Texts, common: npt.NDArray[np.bool_] | None = None) -> list[Leak]:
        """Every text that leaks, each once; `common` as `common_runs` returns it for the whole source.

        A text that shares a run of words is not looked at again for its similarity.
        """
        found: dict[int, Leak] = {}
        if len(self.questions) == 0:
            return []
        if self.ngram is not None:
            found |= {leak.position: leak for leak in self._shared_runs(texts, common)}
        if self.similarity is not None:
            rest = np.setdiff1d(np.arange(len(texts)), np.fromiter(found, np.int64, len(found)))
            open_ = texts.subset(rest) if found else texts
            found |= {
                int(rest[leak.position]): replace(leak, position=int(rest[leak.position]))
                for leak in self._similar(open_)
            }
        return [found[position] for position in sorted(found)]

    def common_runs(self, texts: Texts) -> npt.NDArray[np.bool_]:
        """Which runs of words are instructions: common in `texts`, a source, or in one benchmark."""
        from openthoughts_dagster.questions import leak_kernels

        common = self._common_in_benchmarks.copy()
        if self.common_share is not None and self.ngram is not None and len(texts):
            counts = np.zeros(len(common), np.int64)
            for _, chunk in texts.chunks(1 << 26):
                leak_kernels.count_runs(chunk.data, chunk.offsets, self.ngram, *self._runs[:2], counts)
            common |= counts >= max(LEAST_OF_SOURCE, self.common_share * len(texts))
        return common

    def described(self, texts: Texts, common: npt.NDArray[np.bool_], most: int = 20) -> list[CommonNgram]:
        """The common runs that occur in `texts`, one of each instruction, the most frequent first."""
        from openthoughts_dagster.questions import leak_kernels

        if not common.any() or self.ngram is None:
            return []
        keys, table, owners = self._runs
        counts = np.zeros(len(keys), np.int64)
        for _, chunk in texts.chunks(1 << 26):
            leak_kernels.count_runs(chunk.data, chunk.offsets, self.ngram, keys, table, counts)
        runs, seen = [], set[int]()
        for place in np.argsort(-counts * common, kind="stable")[: 50 * most]:
            question = int(owners[place])
            if not common[place] or counts[place] == 0 or question in seen:
                continue
            seen.add(question)  # runs of one instruction overlap: one of them says enough
            text = self._run_text(question, int(keys[place]))
            name = self.questions["benchmark"][question]
            where = f"benchmark {name}" if self._common_in_benchmarks[place] else "source"
            runs.append(CommonNgram(text, where, int(counts[place]), len(texts)))
        return runs[:most]

    @cached_property
    def _runs(self) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Distinct runs of words, a hash table of them, and a question that has each."""
        keys, first = np.unique(self._every_run[1], return_index=True)
        return keys, hash_table(keys), self._every_run[0][first]

    @cached_property
    def _every_run(self) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.uint64]]:
        from openthoughts_dagster.questions import leak_kernels

        assert self.ngram is not None
        owners, hashes = np.empty(len(self.texts.data), np.int64), np.empty(len(self.texts.data), np.uint64)
        number = leak_kernels.all_runs(self.texts.data, self.texts.offsets, self.ngram, owners, hashes)
        return owners[:number].copy(), hashes[:number].copy()

    @cached_property
    def _common_in_benchmarks(self) -> npt.NDArray[np.bool_]:
        """Runs that many different questions of one benchmark have: its instructions."""
        if self.ngram is None:
            return np.zeros(0, np.bool_)
        keys = self._runs[0]
        common = np.zeros(len(keys), np.bool_)
        if self.common_share is None:
            return common
        owners, hashes = self._every_run
        distinct = self.questions.with_row_index("position").unique("question", keep="first", maintain_order=True)
        for [_], group in distinct.group_by(["benchmark"], maintain_order=True):
            own = np.isin(owners, group["position"].to_numpy())
            runs = np.unique(np.stack([hashes[own], owners[own].astype(np.uint64)]), axis=1)[0]
            repeated, times = np.unique(runs, return_counts=True)
            often = repeated[times >= max(LEAST_OF_BENCHMARK, self.common_share * group.height)]
            common |= np.isin(keys, often)
        return common

    def _shared_runs(self, texts: Texts, common: npt.NDArray[np.bool_] | None) -> list[Leak]:
        from openthoughts_dagster.questions import leak_kernels

        assert self.ngram is not None
        length, (keys, table, owners) = self.ngram, self._runs
        ignored = self.common_runs(texts) if common is None else common

        def work(first: int, chunk: Texts) -> list[Leak]:
            found = np.empty((len(chunk), 3), np.int64)
            leak_kernels.find_runs(chunk.data, chunk.offsets, length, keys, table, ignored, found)
            leaks = []
            for text in np.nonzero(found[:, 0] >= 0)[0]:
                place, start, end = found[text]
                shared = bytes(texts.data[start:end]).decode()
                if self._has_run(int(owners[place]), shared):
                    leaks.append(Leak(first + int(text), int(owners[place]), shared))
            return leaks

        return [leak for part in in_parallel(work, texts.chunks(_CHUNK)) for leak in part]

    def _has_run(self, question: int, shared: str) -> bool:
        words, run = words_of(self.questions["question"][question]), words_of(shared)
        return any(words[at : at + len(run)] == run for at in range(len(words) - len(run) + 1))

    def _run_text(self, question: int, key: int) -> str:
        from openthoughts_dagster.questions import leak_kernels

        assert self.ngram is not None
        one = Texts.of(self.questions["question"].slice(question, 1))
        room = len(one.data) + 1
        hashes, starts, ends = np.empty(room, np.uint64), np.empty(room, np.int64), np.empty(room, np.int64)
        number = leak_kernels.word_runs(one.data, one.offsets[0], one.offsets[1], self.ngram, hashes, starts, ends)
        at = int(np.nonzero(hashes[:number] == np.uint64(key))[0][0])
        return bytes(one.data[starts[at] : ends[at]]).decode()

    @cached_property
    def _grams(self) -> tuple[Any, ...]:
        """Distinct grams, their hash table, which questions have each, weights, and the weight of each question."""
        from openthoughts_dagster.questions import leak_kernels

        owners, hashes = np.empty(len(self.texts.data) + 1, np.int64), np.empty(len(self.texts.data) + 1, np.uint64)
        number = leak_kernels.grams_of(self.texts.data, self.texts.offsets, _GRAM, owners, hashes)
        pairs = pl.DataFrame({"gram": hashes[:number], "owner": owners[:number]}).unique().sort("gram", "owner")
        known = pairs.with_columns(pl.len().over("gram").alias("questions"))
        known = known.filter(pl.col("questions") <= max(64, len(self.questions) // 64))
        keys, begins = np.unique(known["gram"].to_numpy(), return_index=True)
        begins = np.append(begins, known.height).astype(np.int64)
        rarity = np.log2(len(self.questions) / np.diff(begins)) if len(keys) else np.zeros(0)
        weights = np.maximum(1, 4 * rarity).astype(np.int64)
        own = known["owner"].to_numpy()
        totals = np.bincount(own, np.repeat(weights, np.diff(begins)), len(self.questions))
        return keys, hash_table(keys), begins, own, weights, np.maximum(totals, 1.0)

    @cached_property
    def _by_length(self) -> tuple[Any, ...]:
        """Positions of the questions from the shortest on, and their gram bits, bits set and lengths."""
        bits, filled = gram_bits(self.texts)
        lengths = np.abs(self.texts.lengths())
        order = np.argsort(lengths, kind="stable")
        return order, np.ascontiguousarray(bits[order]), filled[order], lengths[order]

    def _similar(self, texts: Texts) -> list[Leak]:
        assert self.similarity is not None
        similarity, known_lengths = self.similarity, self.texts.lengths()
        short = np.nonzero(np.abs(known_lengths) <= _SHORT)[0]
        _ = self._grams, self._by_length  # once, before threads ask for them
        lengths = texts.lengths()

        def work(first: int, chunk: Texts) -> tuple[int, Positions, Positions]:
            ones, others = self._nearest(chunk, lengths[first : first + len(chunk)], known_lengths, short)
            return first, ones, others

        best: dict[int, Leak] = {}
        chunks = list(texts.chunks(_CHUNK))
        for start in range(0, len(chunks), 4 * WORKERS):
            for first, ones, others in in_parallel(work, chunks[start : start + 4 * WORKERS]):
                edges = verified(texts, self.texts, lengths, known_lengths, ones + first, others, similarity)
                for one, other, ratio in zip(edges.ones, edges.others, edges.ratios, strict=True):
                    leak = best.get(int(one))
                    # Of equally similar questions the first one, whichever candidate came first.
                    if leak is None or (-ratio, other) < (-(leak.similarity or 0), leak.question):
                        best[int(one)] = Leak(int(one), int(other), similarity=float(ratio))
        return list(best.values())

    def _nearest(
        self, chunk: Texts, lengths: Positions, known_lengths: Positions, short: Positions
    ) -> tuple[Positions, Positions]:
        from openthoughts_dagster.questions import leak_kernels

        assert self.similarity is not None
        shortest = self.similarity / (200 - self.similarity)
        bits, filled = gram_bits(chunk)
        room, found = 0, _NEAREST * len(chunk)
        while found > room:
            room = found
            ones, others = np.empty(room, np.int64), np.empty(room, np.int64)
            found = leak_kernels.nearest(
                chunk.data,
                chunk.offsets,
                lengths,
                _GRAM,
                *self._grams,
                known_lengths,
                short,
                (filled > _FULL) | (np.abs(lengths) <= _FEW_GRAMS),
                shortest,
                _NEAREST,
                _LEAST_SHARE,
                ones,
                others,
            )
        order, *known = self._by_length
        same, patterns = np.empty(_ALIKE * len(chunk), np.int64), np.empty(_ALIKE * len(chunk), np.int64)
        more = leak_kernels.alike(
            bits, filled, lengths, *known, shortest, _FEW, _LEAST_ALIKE, _ALIKE, _LIKELY, same, patterns
        )
        number = len(self.questions)
        every = distinct([ones[:found] * number + others[:found], same[:more] * number + order[patterns[:more]]])
        return every // number, every % number


def gram_bits(texts: Texts) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.int64]]:
    """A row of bits for each text, one for each of its grams, and how many are set."""
    from openthoughts_dagster.questions import leak_kernels

    bits, filled = np.zeros((len(texts), _GRAM_BITS // 64), np.uint64), np.zeros(len(texts), np.int64)
    leak_kernels.gram_bits(texts.data, texts.offsets, _GRAM, bits, filled)
    return bits, filled


def hash_table(keys: npt.NDArray[np.uint64]) -> npt.NDArray[np.int64]:
    """Where each of the distinct `keys` is, at twice to four times their size."""
    from openthoughts_dagster.questions import leak_kernels

    table = np.full(1 << max(4, (2 * len(keys)).bit_length()), -1, np.int64)
    leak_kernels.fill_table(keys, table)
    return table
