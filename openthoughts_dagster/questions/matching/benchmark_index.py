"""An index of benchmark questions that finds texts which repeat a question in whole or in part."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
import polars as pl

from openthoughts_dagster.questions.decisions import shorten_evidence
from openthoughts_dagster.questions.matching import instructions as common
from openthoughts_dagster.questions.matching.benchmark_similarity import BenchmarkSimilarity, CutTexts
from openthoughts_dagster.questions.matching.instructions import CHUNK, CommonNgram, RunTable, hash_table, run_table
from openthoughts_dagster.questions.matching.normalizing import normalize_texts
from openthoughts_dagster.questions.matching.texts import Texts, in_parallel
from openthoughts_dagster.questions.matching.tokens import (
    WORD_WEIGHT,
    Positions,
    Tokenize,
    Tokens,
    model_tokens,
    word_tokens,
)
from openthoughts_dagster.recipe import Decontamination

_BLOCK = 1 << 26  # bytes of text that are normalized and compared together
_INSTRUCTION = 8 * WORD_WEIGHT
_SHORTEST, _TELLING, _RARE = 6 * WORD_WEIGHT, 2, 0.01


@dataclass(frozen=True, slots=True)
class Leak:
    """A text that repeats a benchmark question: by a shared run of words, or by its similarity (0-100)."""

    position: int
    question: int
    shared: str | None = None
    similarity: float | None = None


@dataclass(frozen=True)
class BenchmarkIndex:
    """Benchmark questions (columns benchmark, question and, where it is known, split), and what counts as a leak."""

    questions: pl.DataFrame
    settings: Decontamination

    def leaks(self, texts: Texts, instructions: RunTable) -> list[Leak]:
        """Return every text that leaks, each once, in order; `instructions` are those of the whole source.

        The similarity of a text that shares a run of words is not computed.
        """
        found: list[Leak] = []
        for first, block in texts.chunks(_BLOCK) if len(self.questions) else ():
            found += self._leaks_of_block(first, block, instructions)
            texts.release()
        return found

    def instructions(self, source: Texts) -> RunTable:
        """Return the runs of words that are instructions: common beside different questions, or in a benchmark."""
        share = self.settings.common_share
        if share is None or len(self.questions) == 0:
            return self._told.only(np.zeros(len(self._told.keys), np.bool_))
        often, counts = self._common_in_benchmarks, None
        if len(source):
            least, told = max(common.LEAST_OF_SOURCE, share * len(source)), self._told
            in_source, counts = common.common_in_source(
                self._prepared(source), self._tokenize, self._tokens, told, least
            )
            often = often | in_source
        return self._told.only(often, counts)

    def describe_instructions(self, source: Texts, instructions: RunTable) -> list[CommonNgram]:
        """Return the instructions that occur in the source that they were counted in, the most frequent first."""
        if len(instructions.keys) == 0:
            return []
        in_benchmark = set(self._told.keys[self._common_in_benchmarks].tolist())
        where = [
            f"benchmark {self.questions['benchmark'][int(owner)]}" if key in in_benchmark else "source"
            for key, owner in zip(instructions.keys.tolist(), instructions.owners, strict=True)
        ]
        return list(common.describe(instructions, len(source), self._text_of, where))

    def evidence(self, leak: Leak) -> Mapping[str, object]:
        """Return the evidence of a leak: benchmark, split, both texts, and the part that they share."""
        found = {"shared": leak.shared} if leak.shared is not None else {"similarity": leak.similarity}
        origin, text = self._shown[leak.question]
        return {**origin, **found, "text": text}

    @cached_property
    def _shown(self) -> list[tuple[dict[str, object], str]]:
        """Benchmark, split and text of each question, which a million leaks share."""
        return [
            ({"benchmark": row["benchmark"], "split": row.get("split")}, shorten_evidence(row["question"], 1000))
            for row in self.questions.iter_rows(named=True)
        ]

    def _prepared(self, texts: Texts) -> Texts:
        return normalize_texts(texts) if self.settings.normalize else texts

    @cached_property
    def _known(self) -> Texts:
        """The questions as they are compared."""
        return self._prepared(Texts.of(self.questions["question"]))

    @cached_property
    def _tokenize(self) -> Tokenize:
        if self.settings.tokenizer is not None:
            return model_tokens(self.settings.tokenizer)
        exact = not self.settings.normalize
        return lambda texts: word_tokens(texts, exact)

    @cached_property
    def _tokens(self) -> Tokens:
        return self._tokenize(self._known)

    @cached_property
    def _told(self) -> RunTable:
        """All runs that may be an instruction: shorter than those that make a leak, but for the exact rule."""
        length = WORD_WEIGHT * (self.settings.ngram or 13)
        return run_table(self._tokens, min(length, _INSTRUCTION) if self.settings.normalize else length)

    @cached_property
    def _common_in_benchmarks(self) -> npt.NDArray[np.bool_]:
        assert self.settings.common_share is not None
        return common.common_in_benchmarks(self._tokens, self._told, self.questions, self.settings.common_share)

    @cached_property
    def _runs(self) -> RunTable:
        """The runs that make a leak: of normalized texts only those that say something."""
        from openthoughts_dagster.questions.matching import run_kernels

        assert self.settings.ngram is not None
        table = run_table(self._tokens, WORD_WEIGHT * self.settings.ngram)
        if not self.settings.normalize:
            return table
        says, own = np.empty(len(table.keys), np.bool_), self._tokens
        run_kernels.says_something(own.values, self._known.data, own.starts, own.ends, table.begins, table.ends, says)
        return table.only(says)

    @cached_property
    def _short(self) -> tuple[RunTable, Positions]:
        """The first runs of questions that are shorter than a run of a leak, and the next one with the same run."""
        own, table = self._tokens, run_table(self._tokens, _SHORTEST)
        assert self.settings.ngram is not None
        weights = np.add.reduceat(np.append(own.weights, 0).astype(np.int64), own.offsets[:-1])
        weights[np.diff(own.offsets) == 0] = 0
        owner = np.repeat(np.arange(len(weights)), np.diff(own.offsets))
        pairs = pl.DataFrame({"token": own.values, "owner": owner})
        seen = pairs.join(self._distinct, on="owner", how="semi").unique().group_by("token").len()
        rare = seen.filter(pl.col("len") <= max(2, _RARE * self._distinct.height)).select("token")
        telling = pairs.join(rare, on="token", how="semi").unique().group_by("owner").len()
        often = telling.filter(pl.col("len") >= _TELLING)["owner"].to_numpy()
        short = (weights >= _SHORTEST) & (weights < WORD_WEIGHT * self.settings.ngram)
        wanted = np.intersect1d(np.nonzero(short)[0], often) if self.settings.normalize else np.empty(0, np.int64)
        owners, begins, ends, hashes = common.every_run(own, _SHORTEST)
        first = np.isin(owners, wanted) & (begins == own.offsets[owners])
        order = np.argsort(hashes[first], kind="stable")
        keys, where = np.unique(hashes[first][order], return_index=True)
        following = np.arange(1, len(order) + 1)
        if len(order):
            following[np.append(where[1:], len(order)) - 1] = -1
        cells, places = hash_table(keys)
        places[places >= 0] = where[places[places >= 0]]
        return (
            RunTable(
                table.weight,
                hashes[first][order],
                owners[first][order],
                begins[first][order],
                ends[first][order],
                cells,
                places,
            ),
            following,
        )

    @cached_property
    def _distinct(self) -> pl.DataFrame:
        rows = self.questions.select("question").with_row_index("owner").with_columns(pl.col("owner").cast(pl.Int64))
        return rows.unique("question", keep="first", maintain_order=True).select("owner")

    def _leaks_of_block(self, base: int, raw: Texts, instructions: RunTable) -> list[Leak]:
        """The leaks among texts of which the first is number `base`."""
        texts, told = self._prepared(raw), len(instructions.keys) > 0
        parts = list(texts.chunks(CHUNK))
        if self.settings.ngram is not None:
            _ = self._runs, self._short  # once, before threads ask for them
        found: dict[int, Leak] = {}
        rests = []
        for leaks, rest in in_parallel(
            lambda first, part: self._leaks_of_part(base + first, part, instructions), parts
        ):
            found |= {leak.position: leak for leak in leaks}
            rests.append(rest)
        if self.settings.similarity is not None:
            rest = Texts.concatenated(rests, len(texts)) if told else texts
            open_ = np.setdiff1d(np.arange(len(texts)), np.fromiter(found, np.int64, len(found)) - base)
            for leak in self._similar(raw, texts, rest, open_, instructions):
                found[base + leak.position] = Leak(base + leak.position, leak.question, similarity=leak.similarity)
        return [found[position] for position in sorted(found)]

    def _leaks_of_part(self, base: int, texts: Texts, instructions: RunTable) -> tuple[list[Leak], Texts]:
        """Texts that share a run of words with a question, and all texts without instructions."""
        from openthoughts_dagster.questions.matching import run_kernels

        told = len(instructions.keys) > 0
        if self.settings.ngram is None and not told:
            return [], texts
        tokens = self._tokenize(texts)
        covered = _covered(tokens, instructions)
        leaks: list[Leak] = []
        if self.settings.ngram is not None:
            every = tokens.values, tokens.weights, tokens.offsets
            found, whole = np.empty((len(texts), 3), np.int64), np.empty((len(texts), 3), np.int64)
            runs, (short, following) = self._runs, self._short
            run_kernels.find_runs(*every, runs.weight, runs.cells, runs.places, covered, found)
            known = self._tokens.values, self._tokens.offsets
            run_kernels.find_whole(
                *(tokens.values, tokens.weights, tokens.bounds, tokens.offsets, short.weight, short.cells),
                *(short.places, following, short.owners, *known, covered, whole),
            )
            for text in np.nonzero((found[:, 0] >= 0) | (whole[:, 0] >= 0))[0]:
                table, (place, begin, end) = (runs, found[text]) if found[text, 0] >= 0 else (short, whole[text])
                owner, start = int(table.owners[place]), int(table.begins[place])
                same = self._tokens.values[start : start + end - begin]
                if np.array_equal(tokens.values[begin:end], same):  # equal hashes of other tokens: never seen
                    shared = bytes(texts.data[tokens.starts[begin] : tokens.ends[end - 1]]).decode(errors="replace")
                    leaks.append(Leak(base + int(text), owner, shared))
        return leaks, _uncovered(texts, tokens, covered) if told else texts

    def _similar(self, raw: Texts, texts: Texts, rest: Texts, open_: Positions, told: RunTable) -> list[Leak]:
        """The most similar question of each of the texts at `open_`."""
        known = self._known
        if len(told.keys):
            known = _uncovered(known, self._tokens, _covered(self._tokens, told))
        edges = self._similarity.find(CutTexts(raw, texts, rest), known, open_, self.settings.brute_force)
        best: dict[int, Leak] = {}
        for one, other, ratio in zip(edges.ones.tolist(), edges.others.tolist(), edges.ratios.tolist(), strict=True):
            leak = best.get(one)
            # Of equally similar questions the first one, whichever candidate came first.
            if leak is None or (-ratio, other) < (-(leak.similarity or 0), leak.question):
                best[one] = Leak(one, other, similarity=ratio)
        return list(best.values())

    @cached_property
    def _similarity(self) -> BenchmarkSimilarity:
        assert self.settings.similarity is not None
        raw = Texts.of(self.questions["question"]) if self.settings.normalize else self._known
        return BenchmarkSimilarity(raw, self._known, self.settings.similarity)

    def _text_of(self, question: int, begin: int, end: int) -> str:
        tokens = self._tokens
        return bytes(self._known.data[tokens.starts[begin] : tokens.ends[end - 1]]).decode(errors="replace")


def _covered(tokens: Tokens, instructions: RunTable) -> npt.NDArray[np.bool_]:
    """Return which tokens are part of an instruction."""
    from openthoughts_dagster.questions.matching import run_kernels

    covered = np.zeros(len(tokens.values), np.bool_)
    if len(instructions.keys):
        run_kernels.cover(
            tokens.values, tokens.weights, tokens.offsets, instructions.weight, instructions.cells, covered
        )
    return covered


def _uncovered(texts: Texts, tokens: Tokens, covered: npt.NDArray[np.bool_]) -> Texts:
    """Return the texts without the covered tokens."""
    from openthoughts_dagster.questions.matching import token_kernels

    if not covered.any():
        return texts
    out, offsets = np.empty(int(texts.offsets[-1] - texts.offsets[0]), np.uint8), np.empty(len(texts) + 1, np.int64)
    size = token_kernels.without_covered(
        *(texts.data, texts.offsets, tokens.starts, tokens.ends, tokens.offsets, covered, out, offsets)
    )
    return Texts(out[:size], offsets)
