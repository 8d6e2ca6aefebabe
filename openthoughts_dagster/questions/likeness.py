"""Finds the questions that are most like a text, however little that is."""

import heapq
from difflib import SequenceMatcher

import polars as pl

from openthoughts_dagster.lake import read_slices

_BATCH = 50_000
LIKE_QUESTIONS = pl.Schema(
    dict.fromkeys(("source", "question_id"), pl.String)
    | {"similarity": pl.Float64, "shared": pl.String, "question": pl.String}
)


def most_like(questions: pl.LazyFrame, text: str, count: int) -> pl.DataFrame:
    """Find the questions that are most like a text.

    Letter case and spaces do not count. Decontamination uses the same similarity with a threshold; here the most
    similar ones are found whatever their similarity is, so every question is compared.

    Args:
        questions: Columns source, question_id and question; they are read in batches.
        text: The text, such as a benchmark's question.
        count: The number of questions to return.

    Returns:
        The rows of LIKE_QUESTIONS, the most similar first: `similarity` is rapidfuzz's ratio from 0 to 100, and
        `shared` the longest run of words that a question shares with the text.
    """
    from rapidfuzz import fuzz, process

    wanted, best = _folded(text), list[tuple[float, str, str, str]]()
    for batch in read_slices(questions.select("source", "question_id", "question"), _BATCH):
        folded = [_folded(question) for question in batch["question"]]
        ratios = process.cdist([wanted], folded, scorer=fuzz.ratio, workers=-1)[0].tolist() if folded else []
        rows = ((ratio, *row) for ratio, row in zip(ratios, batch.iter_rows(), strict=True))
        best = heapq.nlargest(count, [*best, *rows], key=lambda row: (row[0], row[2]))
    found = [(source, id_, ratio, _shared_words(wanted, question), question) for ratio, source, id_, question in best]
    return pl.DataFrame(found, schema=LIKE_QUESTIONS, orient="row")


def _folded(text: str) -> str:
    return " ".join(text.split()).casefold()


def _shared_words(folded: str, question: str) -> str:
    words, others = folded.split(), _folded(question).split()
    match = SequenceMatcher(None, words, others, autojunk=False).find_longest_match()
    return " ".join(words[match.a : match.a + match.size])
