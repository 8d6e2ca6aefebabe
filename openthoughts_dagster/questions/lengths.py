"""The length of an answer as a score: hard questions get long answers (OpenThoughts, arXiv 2506.04178, section 3.3)."""

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

from openthoughts_dagster.generation.reasoning import join_reasoning
from openthoughts_dagster.generation.requests import Answer, AskModel, Prompt
from openthoughts_dagster.recipe import ResponseLengthScore
from openthoughts_dagster.recipe.lock import split_commit


def judged_lengths(texts: Sequence[str], ask: AskModel, score: ResponseLengthScore) -> list[float | None]:
    """Measure a judge's whole answer to each question, reasoning included, in the score's unit.

    Args:
        texts: The questions.
        ask: Asks the judge. An answer with an error is asked for again, up to the score's `attempts`.
        score: The settings of the score.

    Returns:
        The lengths in order; None for a question without an answer.

    Raises:
        ValueError: The tokenizer cannot be loaded.
    """
    lengths: list[float | None] = [None] * len(texts)
    for attempt in range(score.attempts):
        open_ = [at for at, length in enumerate(lengths) if length is None]
        if not open_:
            break
        answers = [answer for [answer] in ask([Prompt(texts[at], 1, attempt) for at in open_])]
        given = [(at, answer) for at, answer in zip(open_, answers, strict=True) if answer.error is None]
        for (at, _), length in zip(given, _measure_answers([answer for _, answer in given], score), strict=True):
            lengths[at] = length
    return lengths


def source_lengths(answers: Sequence[str | None], score: ResponseLengthScore) -> list[float | None]:
    """Measure the source's own answers in the score's unit; None where there is none.

    Raises:
        ValueError: The tokenizer cannot be loaded.
    """
    measured = iter(_measure([answer for answer in answers if answer is not None], score))
    return [None if answer is None else next(measured) for answer in answers]


def _measure_answers(answers: Sequence[Answer], score: ResponseLengthScore) -> list[float]:
    if score.unit == "tokens" and score.tokenizer is None:
        return [float(answer.completion_tokens) for answer in answers]
    return _measure([join_reasoning(answer.reasoning, answer.answer) for answer in answers], score)


def _measure(texts: Sequence[str], score: ResponseLengthScore) -> list[float]:
    count: Callable[[str], int] = len
    if score.unit == "words":
        count = lambda text: len(text.split())  # noqa: E731
    elif score.tokenizer is not None and texts:
        tokenizer = _load_tokenizer(score.tokenizer, score.name)
        count = lambda text: len(tokenizer(text, add_special_tokens=False)["input_ids"])  # noqa: E731
    return [float(count(text)) for text in texts]


@cache
def _load_tokenizer(name: str, score: str) -> Any:
    from transformers import AutoTokenizer

    try:
        model, commit = split_commit(name)
        return AutoTokenizer.from_pretrained(model, revision=commit)
    except (OSError, ValueError) as error:
        raise ValueError(
            f"scores.{score}.tokenizer: {name!r} could not be loaded: {(str(error).splitlines() or [''])[0]}. Name a "
            "model of the hub or a folder, or count words"
        ) from error
