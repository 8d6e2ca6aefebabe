"""A fastText classifier of questions, which returns the probability that a question is a positive one."""

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from openthoughts_dagster.recipe import FastTextScore
from openthoughts_dagster.recipe.answers import FastTextAnswers
from openthoughts_dagster.storage import TEMPORARY_PREFIX

_POSITIVE, _NEGATIVE = "__label__QA_doc", "__label__other"


def fasttext_scores(
    questions: Sequence[str], positives: Sequence[str], negatives: Sequence[str], settings: FastTextScore
) -> list[float]:
    """Train a classifier on examples, and return the probability of each question to be a positive one.

    Args:
        questions: The questions to score.
        positives: Examples that are wanted.
        negatives: Examples that are not wanted.
        settings: The settings of the classifier.

    Returns:
        One probability for each question, in order.
    """
    return fasttext_classifier(positives, negatives, settings)(questions)


def fasttext_classifier(
    positives: Sequence[str], negatives: Sequence[str], settings: FastTextScore | FastTextAnswers
) -> Callable[[Sequence[str]], list[float]]:
    """Train a classifier on examples.

    The order of the examples does not matter, because training runs on one thread over sorted lines.

    Args:
        positives: Examples that are wanted.
        negatives: Examples that are not wanted.
        settings: The settings of the classifier.

    Returns:
        A function that returns the probability of each text to be a positive one, in order.
    """
    import fasttext

    lines = sorted(
        {f"{_POSITIVE} {one_line(q)}" for q in positives} | {f"{_NEGATIVE} {one_line(q)}" for q in negatives}
    )
    # Alternate the labels: sorted lines would have all of one label first, and the last ones would dominate.
    half = [[line for line in lines if line.startswith(label)] for label in (_POSITIVE, _NEGATIVE)]
    mixed = [line for _, line in sorted((place / len(own), line) for own in half for place, line in enumerate(own))]
    with tempfile.TemporaryDirectory(prefix=TEMPORARY_PREFIX) as folder:
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

    def classify(texts: Sequence[str]) -> list[float]:
        labels, probabilities = model.predict([one_line(text) for text in texts], k=2)
        return [
            float(dict(zip(names, values, strict=True)).get(_POSITIVE, 0.0))
            for names, values in zip(labels, probabilities, strict=True)
        ]

    return classify


def one_line(text: str) -> str:
    """Join a text to one line, which is fastText's unit, and change words that it would read as labels."""
    return " ".join(text.replace("__label__", "label").split())
