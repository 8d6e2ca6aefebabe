"""Duplicates within a source."""

import polars as pl

from openthoughts_dagster.questions.decisions import Decision, shown, split
from openthoughts_dagster.recipe import Dedup

_BLOCK = 512


def deduplicate(questions: pl.DataFrame, settings: Dedup) -> tuple[pl.DataFrame, dict[str, Decision]]:
    """The first question of every group of duplicates in the given order, and which question each other one repeats.

    exact compares texts without the space around them. fuzzy also drops a question whose Indel similarity
    (rapidfuzz ratio, 0-100) to one that stays is `settings.similarity` or more; all pairs are compared, so it is
    for sources of up to some ten thousand questions.
    """
    if settings.method == "none":
        return questions, {}
    texts, ids = [text.strip() for text in questions["question"]], questions["question_id"].to_list()
    first: dict[str, int] = {}
    drops: dict[int, Decision] = {}
    for position, text in enumerate(texts):
        if text in first:
            kept = first[text]
            drops[position] = Decision("duplicate_exact", {"of": ids[kept], "similarity": 100, "text": shown(text)})
        else:
            first[text] = position
    if settings.method == "fuzzy":
        drops |= _fuzzy(list(first.values()), texts, ids, settings.similarity)
    return split(questions, drops)


def _fuzzy(positions: list[int], texts: list[str], ids: list[str], similarity: float) -> dict[int, Decision]:
    from rapidfuzz import fuzz, process

    drops: dict[int, Decision] = {}
    for start in range(0, len(positions), _BLOCK):
        block = positions[start : start + _BLOCK]
        earlier = [p for p in positions[: start + len(block)] if p not in drops]
        ratios = process.cdist(
            [texts[p] for p in block],
            [texts[p] for p in earlier],
            scorer=fuzz.ratio,
            score_cutoff=similarity,
            workers=-1,
        )
        for position, row in zip(block, ratios, strict=True):
            for column in row.nonzero()[0]:
                match = earlier[column]
                if match >= position:
                    break
                if match not in drops:  # only a question that stays makes another one a duplicate
                    evidence = {"of": ids[match], "similarity": float(row[column]), "text": shown(texts[match])}
                    drops[position] = Decision("duplicate_fuzzy", evidence)
                    break
    return drops
