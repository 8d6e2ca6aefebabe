"""Questions that leak from benchmarks."""

from collections.abc import Callable, Iterator, Sequence
from functools import cache

import polars as pl

from openthoughts_dagster.questions.decisions import Decision, shown, split
from openthoughts_dagster.recipe import Decontamination

_BLOCK = 2048


def decontaminate(
    questions: pl.DataFrame, settings: Decontamination, benchmarks: pl.DataFrame
) -> tuple[pl.DataFrame, dict[str, Decision]]:
    """The questions that no benchmark question gave away, and what each other one shares with which benchmark.

    A question leaks when it has `settings.ngram` tokens in a row in common with a benchmark question, or an Indel
    similarity (rapidfuzz ratio, 0-100) of `settings.similarity` or more to one: at the threshold is a leak
    (OpenThoughts, arXiv 2506.04178, appendix on decontamination; 13 and 75). `benchmarks` has columns benchmark
    and question. Nothing is lower-cased or normalized, as in the paper's code.
    """
    texts, names, known = (
        questions["question"].to_list(),
        benchmarks["benchmark"].to_list(),
        benchmarks["question"].to_list(),
    )
    drops: dict[int, Decision] = {}
    if settings.ngram is not None:
        drops |= _shared_ngrams(texts, names, known, settings.ngram, _tokens(settings.tokenizer))
    if settings.similarity is not None:
        drops |= _similar(texts, names, known, settings.similarity)
    return split(questions, drops)


def find_leaks(questions: pl.DataFrame, settings: Decontamination, benchmarks: pl.DataFrame) -> int:
    """How many of `questions` leak from a benchmark."""
    return len(decontaminate(questions, settings, benchmarks)[1])


def _shared_ngrams(
    texts: Sequence[str],
    names: Sequence[str],
    known: Sequence[str],
    length: int,
    tokens: Callable[[str], Sequence[str]],
) -> dict[int, Decision]:
    owners: dict[tuple[str, ...], str] = {}
    for name, text in zip(names, known, strict=True):
        for ngram in _ngrams(tokens(text), length):
            owners.setdefault(ngram, name)
    drops = {}
    for position, text in enumerate(texts):
        shared = next((ngram for ngram in _ngrams(tokens(text), length) if ngram in owners), None)
        if shared is not None:
            drops[position] = Decision("benchmark_ngram", {"benchmark": owners[shared], "shared": " ".join(shared)})
    return drops


def _ngrams(tokens: Sequence[str], length: int) -> Iterator[tuple[str, ...]]:
    return (tuple(tokens[i : i + length]) for i in range(len(tokens) - length + 1))


@cache
def _tokens(tokenizer: str | None) -> Callable[[str], Sequence[str]]:
    if tokenizer is None:
        return str.split
    from transformers import AutoTokenizer

    try:
        loaded = AutoTokenizer.from_pretrained(tokenizer)
    except (OSError, ValueError) as error:
        raise ValueError(
            f"decontamination.tokenizer: {tokenizer!r} could not be loaded: {str(error).splitlines()[0]}. "
            "Name a model of the hub or a folder, or leave it out to count words"
        ) from error
    return lambda text: [str(token) for token in loaded.tokenize(text)]


def _similar(
    texts: Sequence[str], names: Sequence[str], known: Sequence[str], similarity: float
) -> dict[int, Decision]:
    from rapidfuzz import fuzz, process

    drops: dict[int, Decision] = {}
    if not known:
        return drops
    for start in range(0, len(texts), _BLOCK):
        block = texts[start : start + _BLOCK]
        ratios = process.cdist(block, known, scorer=fuzz.ratio, score_cutoff=similarity, workers=-1)
        for offset, row in enumerate(ratios):
            best = int(row.argmax())
            if row[best] >= similarity:
                evidence = {"benchmark": names[best], "similarity": float(row[best]), "text": shown(known[best])}
                drops[start + offset] = Decision("benchmark_similarity", evidence)
    return drops
