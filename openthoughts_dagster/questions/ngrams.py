"""Runs of words that two texts share: what words are, and which texts have which run.

A word is a run of letters, digits and underscores, or any other visible character by itself, so that numbers and
operators count; white space does not. Scripts that put no space between words (Chinese, Japanese, Korean) count by the
character. No tokenizer is needed, and none has to be loaded to know what was decided.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

Words = Callable[[str], Sequence[str]]
_IN = r"0-9A-Za-z_\u00c0-\u1fff"
_BETWEEN = r"\x00-\x20\xa0\u2000-\u200a\u202f\u3000"
_WORD = re.compile(f"[{_IN}]+|[^{_IN}{_BETWEEN}]")


@dataclass(frozen=True)
class CommonNgram:
    """A run of words of a benchmark that is an instruction, not a question: where it is common, and how much."""

    text: str
    common_in: str
    questions: int
    of: int


def words_of(text: str) -> list[str]:
    """The words of `text`, as this module defines them."""
    return _WORD.findall(text)


def tokens_of(tokenizer: str) -> Words:
    """The tokens of a model of the hub, or of a folder. Raises ValueError when it cannot be loaded."""
    from transformers import AutoTokenizer

    try:
        loaded = AutoTokenizer.from_pretrained(tokenizer)
    except (OSError, ValueError) as error:
        raise ValueError(
            f"decontamination.tokenizer: {tokenizer!r} could not be loaded: {str(error).splitlines()[0]}. "
            "Name a model of the hub or a folder, or leave it out to count words"
        ) from error
    return lambda text: [str(token) for token in loaded.tokenize(text)]
