"""Questions that leak from benchmarks."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt
import polars as pl

from openthoughts_dagster.questions.decisions import Decision
from openthoughts_dagster.questions.leaks import LEAST_OF_BENCHMARK, LEAST_OF_SOURCE, BenchmarkIndex, Leak
from openthoughts_dagster.questions.ngrams import CommonNgram, Words, tokens_of, words_of
from openthoughts_dagster.questions.texts import WORKERS, Texts
from openthoughts_dagster.recipe import Decontamination, Evaluation

_BLOCK = 2048
_REASON = {True: "benchmark_ngram", False: "benchmark_similarity"}


@dataclass(frozen=True)
class Leaks:
    """Why each leaked position goes, and the instructions that were not taken for leaks."""

    decisions: dict[int, Decision]
    instructions: list[CommonNgram]


def find_leaks(texts: Texts, settings: Decontamination, benchmarks: pl.DataFrame, source: Texts | None = None) -> Leaks:
    """The texts that a benchmark question gave away, each with what it shares with which.

    A text leaks when it has `settings.ngram` tokens in a row in common with a benchmark question, or an Indel
    similarity (rapidfuzz ratio, 0-100) of `settings.similarity` or more to one: at the threshold is a leak
    (OpenThoughts, arXiv 2506.04178, appendix on decontamination; 13 and 75). Nothing is lower-cased or normalized, as
    in the paper's code. `benchmarks` has columns benchmark, question and, where it is known, split. Tokens in a row
    that `settings.common_share` of `source` (the texts themselves when absent) or of a benchmark has are an
    instruction, and no leak; nor are tokens in a row that are for more than a half an instruction.
    """
    whole = texts if source is None else source
    words_rule = settings.ngram is not None and settings.tokenizer is None
    index = BenchmarkIndex(
        benchmarks,
        settings.ngram if words_rule and not settings.brute_force else None,
        None if settings.brute_force else settings.similarity,
        settings.common_share,
    )
    common = index.common_runs(whole)
    leaks = {leak.position: leak for leak in index.leaks(texts, common)}
    instructions = index.described(whole, common)
    if settings.brute_force and settings.similarity is not None:
        leaks = {leak.position: leak for leak in most_similar(texts, benchmarks["question"], settings.similarity)}
    if settings.ngram is not None and (settings.brute_force or not words_rule):
        tokens = words_of if settings.tokenizer is None else _loaded(settings.tokenizer)
        shared, instructions = shared_ngrams(texts, whole, benchmarks, settings, tokens)
        leaks |= {leak.position: leak for leak in shared}
    return Leaks(
        {p: Decision(_REASON[leaks[p].shared is not None], index.evidence(leaks[p])) for p in sorted(leaks)},
        instructions,
    )


def with_splits(benchmarks: pl.DataFrame, evaluation: Evaluation) -> pl.DataFrame:
    """`benchmarks` with a column split: which split or file the recipe takes each benchmark's questions from."""
    splits = {}
    for benchmark in evaluation.benchmarks:
        # Every kind of benchmark names a file of its own as `path`, or else where its `questions` are.
        where = str(getattr(benchmark, "path", None) or getattr(benchmark, "questions", None) or "")
        parts = where.rsplit(":", 2)
        splits[benchmark.name] = parts[1] if len(parts) == 3 and "/" not in parts[1] else where.rpartition("/")[2]
    return benchmarks.with_columns(pl.col("benchmark").replace(splits).alias("split"))


def most_similar(texts: Texts, known: pl.Series, similarity: float) -> list[Leak]:
    """The most similar of the `known` questions to each text that is similar to one: all pairs are compared."""
    from rapidfuzz import fuzz, process

    leaks: list[Leak] = []
    questions = known.to_list()
    for start in range(0, len(texts) if questions else 0, _BLOCK):
        block = [texts[position] for position in range(start, min(len(texts), start + _BLOCK))]
        ratios = process.cdist(
            block, questions, scorer=fuzz.ratio, score_cutoff=similarity, workers=WORKERS, dtype=np.float64
        )
        for offset, row in enumerate(ratios):
            best = int(row.argmax())
            if row[best] >= similarity:
                leaks.append(Leak(start + offset, best, similarity=float(row[best])))
    return leaks


def shared_ngrams(
    texts: Texts, whole: Texts, benchmarks: pl.DataFrame, settings: Decontamination, tokens: Words
) -> tuple[list[Leak], list[CommonNgram]]:
    """Texts that share a run of tokens, with a plain set: the n-gram rule for any tokenizer, and its brute force."""
    assert settings.ngram is not None
    length, owners = settings.ngram, dict[tuple[str, ...], int]()
    times: dict[str, Counter[tuple[str, ...]]] = {}
    distinct: dict[str, set[str]] = {}
    for question, (name, text) in enumerate(benchmarks.select("benchmark", "question").iter_rows()):
        runs = set(_ngrams(tokens(text), length))
        for run in runs:
            owners.setdefault(run, question)
        if text not in distinct.setdefault(name, set()):
            distinct[name].add(text)
            times.setdefault(name, Counter()).update(runs)
    common: dict[tuple[str, ...], str] = {}
    counts: Counter[tuple[str, ...]] = Counter()
    share = settings.common_share
    if share is not None:
        counts.update(run for p in range(len(whole)) for run in set(_ngrams(tokens(whole[p]), length)) & owners.keys())
        least = max(LEAST_OF_SOURCE, share * len(whole))
        common |= {run: "source" for run, count in counts.items() if count >= least}
        for name, own in times.items():
            least = max(LEAST_OF_BENCHMARK, share * len(distinct[name]))
            common |= {run: f"benchmark {name}" for run, count in own.items() if count >= least}
    leaks = []
    for position in range(len(texts)):
        runs_here = _ngrams(tokens(texts[position]), length)
        told = {at + word for at, run in enumerate(runs_here) if run in common for word in range(length)}
        first = next(
            (
                run
                for at, run in enumerate(runs_here)
                if run in owners
                and run not in common
                and 2 * sum(word in told for word in range(at, at + length)) <= length
            ),
            (),
        )
        if first:
            leaks.append(Leak(position, owners[first], " ".join(first)))
    seen = sorted((-counts[run], " ".join(run), where) for run, where in common.items() if counts[run])
    return leaks, [CommonNgram(text, where, -count, len(whole)) for count, text, where in seen[:20]]


def _ngrams(tokens: Sequence[str], length: int) -> Iterable[tuple[str, ...]]:
    return [tuple(tokens[at : at + length]) for at in range(len(tokens) - length + 1)]


@cache
def _loaded(tokenizer: str) -> Words:
    return tokens_of(tokenizer)


def without(number: int, decisions: dict[int, Decision]) -> npt.NDArray[np.int64]:
    """The positions of `number` texts that no decision is about."""
    kept = np.ones(number, np.bool_)
    kept[list(decisions)] = False
    return np.nonzero(kept)[0]
