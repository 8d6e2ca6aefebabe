"""Finds questions that leak from benchmarks."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from openthoughts_dagster.questions.decisions import Decision
from openthoughts_dagster.questions.matching import BenchmarkIndex, Texts
from openthoughts_dagster.questions.matching.instructions import CommonNgram, RunTable
from openthoughts_dagster.recipe import Decontamination, Evaluation

_REASON = {True: "benchmark_ngram", False: "benchmark_similarity"}


@dataclass(frozen=True)
class Leaks:
    """The decision about each leaked position, and the instructions that were not taken for leaks."""

    decisions: dict[int, Decision]
    instructions: list[CommonNgram]


def find_leaks(texts: Texts, settings: Decontamination, benchmarks: pl.DataFrame, source: Texts | None = None) -> Leaks:
    """Find the texts that repeat a benchmark question, in whole or in part.

    A text leaks if it shares `settings.ngram` words in a row with a benchmark question, if it contains a shorter
    benchmark question of at least six words as a whole, or if its Indel similarity (rapidfuzz ratio, 0-100) to one is
    at least `settings.similarity` (OpenThoughts, arXiv 2506.04178, appendix on decontamination, with 13 and 75). Texts
    are compared in their normalized form, or unchanged without `settings.normalize`, as in the paper's code.
    Instructions are not leaks: they are words in a row beside different questions in `settings.common_share` of the
    source, or in this share of a benchmark. The similarity is computed without the instructions of both texts.

    Args:
        texts: The questions to check.
        settings: The recipe's `decontamination`.
        benchmarks: Columns benchmark, question and, where it is known, split; one row for each benchmark question.
        source: All questions of the source or a random sample of them, in which instructions are counted; by default
            the texts themselves.

    Returns:
        A decision for the position of each text that leaks, with the benchmark's name, both texts and what they share,
        and the instructions that were found.

    Raises:
        ValueError: The tokenizer that the settings name cannot be loaded.

    Example:
        >>> benchmarks = pl.DataFrame({"benchmark": ["b"], "question": ["What is the capital city of France?"]})
        >>> texts = Texts.of(pl.Series(["what is the capital city of France", "Name a prime number."]))
        >>> list(find_leaks(texts, Decontamination(), benchmarks).decisions)
        [0]
    """
    index = BenchmarkIndex(benchmarks, settings)
    whole = texts if source is None else source
    instructions = index.instructions(whole)
    decisions = _decide(index, texts, instructions)
    return Leaks(decisions, index.describe_instructions(whole, instructions))


def find_leaks_in_parts(
    parts: Iterable[pl.DataFrame], settings: Decontamination, benchmarks: pl.DataFrame, source: Texts
) -> Iterator[tuple[pl.DataFrame, dict[int, Decision]]]:
    """Find leaks as `find_leaks` does, in the questions of a source that are read a part at a time.

    Args:
        parts: The questions to check, in parts with a column question.
        settings: The recipe's `decontamination`.
        benchmarks: As in `find_leaks`.
        source: As in `find_leaks`: a random sample of the source, in which instructions are counted.

    Yields:
        Each part, and a decision for the position in it of each text that leaks.
    """
    index = BenchmarkIndex(benchmarks, settings)
    instructions = index.instructions(source)
    for part in parts:
        yield part, _decide(index, Texts.of(part["question"]), instructions)


def _decide(index: BenchmarkIndex, texts: Texts, instructions: RunTable) -> dict[int, Decision]:
    return {
        leak.position: Decision(_REASON[leak.shared is not None], index.evidence(leak))
        for leak in index.leaks(texts, instructions)
    }


def with_splits(benchmarks: pl.DataFrame, evaluation: Evaluation) -> pl.DataFrame:
    """Add a column split to `benchmarks`: the split or file from which the recipe takes the questions."""
    splits = {}
    for benchmark in evaluation.benchmarks:
        # Every kind of benchmark has its own file as `path`, or the address of its `questions`.
        where = str(getattr(benchmark, "path", None) or getattr(benchmark, "questions", None) or "")
        parts = where.rsplit(":", 2)
        splits[benchmark.name] = parts[1] if len(parts) == 3 and "/" not in parts[1] else where.rpartition("/")[2]
    return benchmarks.with_columns(pl.col("benchmark").replace(splits).alias("split"))


def without(number: int, decisions: dict[int, Decision]) -> npt.NDArray[np.int64]:
    """Return the positions of `number` texts for which there is no decision."""
    kept = np.ones(number, np.bool_)
    kept[list(decisions)] = False
    return np.nonzero(kept)[0]
