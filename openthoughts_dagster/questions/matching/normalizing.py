"""Normalizes texts for decontamination, by removing differences that do not change a question.

Letter case, full-width and other compatibility letters, invisible characters, vowel signs of Arabic and Hebrew, the
delimiters and spaces of LaTeX, and runs of white space.
"""

import numpy as np
import polars as pl

from openthoughts_dagster.questions.matching.texts import Texts, in_parallel

_CHUNK = 1 << 22
# Characters without a shape of their own, and marks that are left out as often as not.
_MARKS = (
    r"[\p{Cf}\u034F\u0591-\u05BD\u05BF\u05C1\u05C2\u0610-\u061A\u0640\u064B-\u065F\u0670\u06D6-\u06ED\uFE00-\uFE0F]"
)
_DELIMITERS = r"\\(?:[()\[\]]|left\b|right\b|displaystyle\b|textstyle\b)|\$"
_SPACES = r"\\(?:[,;:! ]|q?quad\b)"
_FRACTIONS = r"\\[dt]frac\b"
_LINES = r"[ \t\r\x0B\x0C]*\n\s*"
_BLANKS = r"[ \t\r\x0B\x0C]{2,}|[\t\r\x0B\x0C]"


def normalize_texts(texts: Texts) -> Texts:
    """Return the texts in the form in which they are compared, in the same order."""
    return Texts.concatenated(
        in_parallel(lambda _, part: Texts.of(_normal(part.series())), texts.chunks(_CHUNK)), len(texts)
    )


def _normal(texts: pl.Series) -> pl.Series:
    other = (texts.str.len_bytes() != texts.str.len_chars()).arg_true()
    if len(other):
        plain = texts.gather(other).str.normalize("NFKC").str.replace_all(_MARKS, "")
        order = np.arange(len(texts))
        order[other.to_numpy()] = len(texts) + np.arange(len(other))
        texts = texts.append(plain).gather(order)
    return (
        texts.str.to_lowercase()
        .str.replace_all(_DELIMITERS, "")
        .str.replace_all(_SPACES, " ")
        .str.replace_all(_FRACTIONS, r"\frac")
        .str.replace_all(_LINES, "\n")
        .str.replace_all(_BLANKS, " ")
        .str.strip_chars()
    )
