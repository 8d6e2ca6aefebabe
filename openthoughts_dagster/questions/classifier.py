"""A fastText classifier of questions: how likely one is of the kind that is wanted."""

import tempfile
from collections.abc import Sequence
from pathlib import Path

from openthoughts_dagster.recipe import FastTextScore

_POSITIVE, _NEGATIVE = "__label__QA_doc", "__label__other"


def fasttext_scores(
    questions: Sequence[str], positives: Sequence[str], negatives: Sequence[str], settings: FastTextScore
) -> list[float]:
    """The probability of being a positive for each question, by a classifier trained on the examples.

    The same examples in any order give the same numbers: training runs on one thread over sorted lines.
    """
    import fasttext

    lines = sorted(
        {f"{_POSITIVE} {one_line(q)}" for q in positives} | {f"{_NEGATIVE} {one_line(q)}" for q in negatives}
    )
    # Alternating labels: sorted lines are all of one kind first, and what is learned last stays.
    half = [[line for line in lines if line.startswith(label)] for label in (_POSITIVE, _NEGATIVE)]
    mixed = [line for _, line in sorted((place / len(own), line) for own in half for place, line in enumerate(own))]
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "examples.txt"
        file.write_text("\n".join(mixed) + "\n", encoding="utf-8")
        model = fasttext.train_supervised(
            str(file),
            dim=settings.dimensions,
            epoch=settings.epochs,
            lr=settings.learning_rate,
            wordNgrams=settings.word_ngrams,
            minCount=settings.min_count,
            thread=1,
            verbose=0,
        )
    labels, probabilities = model.predict([one_line(question) for question in questions], k=2)
    return [
        float(dict(zip(names, values, strict=True)).get(_POSITIVE, 0.0))
        for names, values in zip(labels, probabilities, strict=True)
    ]


def one_line(text: str) -> str:
    """fastText's unit is the line, and words that begin like a label would be read as one."""
    return " ".join(text.replace("__label__", "label").split())
