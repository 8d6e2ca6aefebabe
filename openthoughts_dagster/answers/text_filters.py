"""The answer filters that read whole texts: language, paragraphs, repetition, likeness to examples or the student."""

import re
from collections import Counter
from collections.abc import Callable
from functools import cache
from typing import Any

import polars as pl

from openthoughts_dagster.answers.filter_context import QUESTION, ROW, FilterContext, select_dropped
from openthoughts_dagster.generation.log_probabilities import compute_mean_log_probabilities
from openthoughts_dagster.generation.reasoning import CLOSE, OPEN, join_reasoning
from openthoughts_dagster.questions.classifier import fasttext_classifier
from openthoughts_dagster.recipe.answers import (
    FastTextAnswers,
    LanguageAnswers,
    LikelyAnswers,
    ParagraphAnswers,
    RepetitionAnswers,
)

_BLANK = re.compile(r"\n\s*\n")
# Formulas and programs are in no language, and detectors take them for any.
_NO_PROSE = re.compile(r"```.*?```|\$\$.*?\$\$|\$[^$\n]*\$|\\\[.*?\\\]|\\\(.*?\\\)|\\[a-zA-Z]+", re.DOTALL)
_TAGS = re.compile(f"{OPEN}|{CLOSE}")
_SHORTEST = 20  # letters from which a paragraph's language is looked at; fewer say nothing
_DENSE = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]")  # scripts whose signs are worth several letters
_DENSE_LETTERS = 3

Judged = tuple[bool, str]
"""Whether an answer is dropped, and the evidence."""


def drop_other_languages(settings: LanguageAnswers, context: FilterContext) -> pl.DataFrame:
    """Drop answers of which too much is in other languages than those to keep."""
    return _judge_texts(context, "other_language", lambda text: _judge_language(text, settings))


def drop_long_paragraphs(settings: ParagraphAnswers, context: FilterContext) -> pl.DataFrame:
    """Drop answers with a paragraph of too many words."""

    def judge(text: str) -> Judged:
        longest = max((len(paragraph.split()) for paragraph in _BLANK.split(text)), default=0)
        return longest > settings.words, f"a paragraph of {longest:,} words"

    return _judge_texts(context, "long_paragraph", judge)


def drop_repetitive(settings: RepetitionAnswers, context: FilterContext) -> pl.DataFrame:
    """Drop answers of whose passages too many have been there before."""

    def judge(text: str) -> Judged:
        words = text.split()
        passages = [hash(tuple(words[n : n + settings.words])) for n in range(len(words) - settings.words + 1)]
        share = 1 - len(set(passages)) / len(passages) if passages else 0.0
        return share > settings.share, f"{share:.0%} of its passages of {settings.words} words were there before"

    return _judge_texts(context, "repetitive", judge)


def drop_unlike_examples(settings: FastTextAnswers, context: FilterContext) -> pl.DataFrame:
    """Drop the answers that a classifier finds least like the positive examples."""
    positives, negatives = (
        [text for path in paths for text in _read_examples(context.tools.resolve(path))]
        for paths in (settings.positives, settings.negatives)
    )
    classify = fasttext_classifier(positives, negatives, settings)
    values = [value for page in context.texts() for value in classify(_texts_of(page))]
    rows = context.answers.with_columns(value=pl.Series(values, dtype=pl.Float64))
    kept = round(settings.keep * rows.height)
    beyond = rows.sort("value", *ROW, descending=[True, False, False, False]).slice(kept)
    evidence = pl.format("probability {} of being like the positives", pl.col("value").round(3))
    return select_dropped(beyond, "unlike_examples", evidence)


def drop_unlikely(settings: LikelyAnswers, context: FilterContext) -> pl.DataFrame:
    """Drop all but the answers of each question that are likeliest under the student."""
    student = context.tools.student()
    values: list[float | None] = []
    for page in context.texts():
        values += compute_mean_log_probabilities(student, page["question"].to_list(), _whole(page), settings.max_tokens)
    rows = context.answers.with_columns(value=pl.Series(values, dtype=pl.Float64))
    ordered = rows.sort("value", "sample_index", descending=[True, False], nulls_last=True)
    placed = ordered.with_columns(place=pl.int_range(1, pl.len() + 1).over(QUESTION))
    beyond = placed.filter(pl.col("place") > settings.count)
    shown = pl.col("value").round(3).cast(pl.String).fill_null("unknown")
    return select_dropped(beyond, "unlikely", pl.format("the {}. likeliest, mean log-probability {}", "place", shown))


def _judge_texts(context: FilterContext, reason: str, judge: Callable[[str], Judged]) -> pl.DataFrame:
    parts = [context.answers.clear().with_columns(evidence=pl.lit("", dtype=pl.String))]
    for page in context.texts():
        judged = [judge(text) for text in _texts_of(page)]
        rows = page.select(context.answers.columns).with_columns(
            evidence=pl.Series([evidence for _, evidence in judged], dtype=pl.String)
        )
        parts.append(rows.filter(pl.Series([drop for drop, _ in judged], dtype=pl.Boolean)))
    return select_dropped(pl.concat(parts), reason, pl.col("evidence"))


def _texts_of(page: pl.DataFrame) -> list[str]:
    """Return reasoning and answer as paragraphs, without tags, which would stick to the words beside them."""
    pairs = page.select("reasoning", "answer").iter_rows()
    return ["\n\n".join(part for part in pair if part) for pair in pairs]


def _whole(page: pl.DataFrame) -> list[str]:
    pairs = page.select("reasoning", "answer").iter_rows()
    return [join_reasoning(reasoning, answer or "") for reasoning, answer in pairs]


def _judge_language(text: str, settings: LanguageAnswers) -> Judged:
    letters: Counter[str] = Counter()
    for paragraph in _NO_PROSE.sub(" ", text).split("\n"):
        size = sum(map(str.isalpha, paragraph)) + (_DENSE_LETTERS - 1) * len(_DENSE.findall(paragraph))
        if size >= _SHORTEST:
            language, certainty = _detector().classify(paragraph)
            other = language not in settings.keep and certainty >= settings.certainty
            letters[language if other else ""] += size
    total = letters.total()
    found = [(count, language) for language, count in letters.items() if language]
    share = sum(count for count, _ in found) / total if total else 0.0
    named = ", ".join(f"{count / total:.0%} {language}" for count, language in sorted(found, reverse=True)[:3])
    return share > settings.share, f"{named} of its letters" if named else "no other language"


@cache
def _detector() -> Any:
    """Return the detector of languages: 97 languages, about a megabyte, no network."""
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    return LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)


def _read_examples(path: str) -> list[str]:
    try:
        rows = pl.read_parquet(path) if path.endswith(".parquet") else pl.read_ndjson(path)
    except (OSError, pl.exceptions.PolarsError) as error:
        raise ValueError(
            f"answer_filter: the examples {path} cannot be read: {(str(error).splitlines() or [''])[0]}; name a JSON "
            "Lines or Parquet file, relative to the recipe's folder"
        ) from error
    if "text" not in rows.columns:
        raise ValueError(
            f"answer_filter: the examples {path} have no column 'text'; they have {', '.join(rows.columns)}"
        )
    texts = [_TAGS.sub("\n\n", text) for text in rows["text"].cast(pl.String) if text]
    return [text for text in texts if text.strip()]
