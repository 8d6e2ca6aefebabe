"""Questions that leak from benchmarks."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from openthoughts_dagster.questions.decisions import Decision
from openthoughts_dagster.questions.matching import BenchmarkIndex, Texts
from openthoughts_dagster.questions.matching.instructions import CommonNgram
from openthoughts_dagster.recipe import Decontamination, Evaluation

_REASON = {True: "benchmark_ngram", False: "benchmark_similarity"}


@dataclass(frozen=True)
class Leaks:
    """Why each leaked position goes, and the instructions that were not taken for leaks."""

    decisions: dict[int, Decision]
    instructions: list[CommonNgram]


def find_leaks(texts: Texts, settings: Decontamination, benchmarks: pl.DataFrame, source: Texts | None = None) -> Leaks:
    """Find the texts that repeat a benchmark question, in whole or in part.

    A text leaks when it shares `settings.ngram` words in a row with a benchmark question, has a shorter one of at least
    six words in it as a whole, or has an Indel similarity (rapidfuzz ratio, 0-100) of `settings.similarity` or more to
    one: at the threshold is a leak (OpenThoughts, arXiv 2506.04178, appendix on decontamination; 13 and 75). Texts are
    compared in their normalized form; with `settings.normalize` off they are compared as they are, as in the paper's
    code. Instructions are no leaks: words in a row that stand beside different questions in `settings.common_share` of
    the source, or that this share of a benchmark has. The similarity is that of what is left without them.

    Args:
        texts: The questions to look at.
        settings: The recipe's `decontamination`.
        benchmarks: Columns benchmark, question and, where it is known, split; one row for each benchmark question.
        source: All questions of the source, or a random sample of them, which say what is common there. The texts
            themselves when absent.

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
    decisions = {
        leak.position: Decision(_REASON[leak.shared is not None], index.evidence(leak))
        for leak in index.leaks(texts, instructions)
    }
    return Leaks(decisions, index.described(whole, instructions))


def with_splits(benchmarks: pl.DataFrame, evaluation: Evaluation) -> pl.DataFrame:
    """`benchmarks` with a column split: which split or file the recipe takes each benchmark's questions from."""
    splits = {}
    for benchmark in evaluation.benchmarks:
        # Every kind of benchmark names a file of its own as `path`, or else where its `questions` are.
        where = str(getattr(benchmark, "path", None) or getattr(benchmark, "questions", None) or "")
        parts = where.rsplit(":", 2)
        splits[benchmark.name] = parts[1] if len(parts) == 3 and "/" not in parts[1] else where.rpartition("/")[2]
    return benchmarks.with_columns(pl.col("benchmark").replace(splits).alias("split"))


def without(number: int, decisions: dict[int, Decision]) -> npt.NDArray[np.int64]:
    """The positions of `number` texts that no decision is about."""
    kept = np.ones(number, np.bool_)
    kept[list(decisions)] = False
    return np.nonzero(kept)[0]
