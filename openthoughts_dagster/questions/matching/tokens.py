"""Divides texts into tokens: words, as defined here, or the tokens of a model's tokenizer.

An exact word is a run of letters, digits and underscores, or any other visible character by itself, as the paper's
tokenizer would count; white space does not count. In normalized texts only letters and digits make words.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

from openthoughts_dagster.questions.matching.texts import Texts
from openthoughts_dagster.recipe.lock import split_commit

WORD_WEIGHT = 4
_IN = r"0-9A-Za-z_\u00c0-\u1fff"
_BETWEEN = r"\x00-\x20\xa0\u2000-\u200a\u202f\u3000"
WORD = re.compile(f"[{_IN}]+|[^{_IN}{_BETWEEN}]")

Positions = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Tokens:
    """Tokens of many texts, one after the other: text i has those from offsets[i] to offsets[i + 1].

    `values` are hashes or ids, `weights` quarters of a word, `starts` and `ends` bytes of the texts, and `bounds` says
    where a sign or an end of the text stands before (1) and after (2) a token.
    """

    values: npt.NDArray[np.uint64]
    weights: npt.NDArray[np.uint8]
    starts: Positions
    ends: Positions
    bounds: npt.NDArray[np.uint8]
    offsets: Positions

    def weight(self, text: int) -> int:
        """Quarters of a word that a text has."""
        return int(self.weights[self.offsets[text] : self.offsets[text + 1]].sum())


Tokenize = Callable[[Texts], Tokens]


def word_tokens(texts: Texts, exact: bool) -> Tokens:
    """Divide texts into words: exact ones, or those of normalized texts."""
    from openthoughts_dagster.questions.matching import token_kernels

    room = int(texts.offsets[-1] - texts.offsets[0]) + 1
    values, weights = np.empty(room, np.uint64), np.empty(room, np.uint8)
    starts, ends = np.empty(room, np.int64), np.empty(room, np.int64)
    bounds, offsets = np.empty(room, np.uint8), np.empty(len(texts) + 1, np.int64)
    number = token_kernels.words(texts.data, texts.offsets, exact, values, weights, starts, ends, bounds, offsets)
    return Tokens(values[:number], weights[:number], starts[:number], ends[:number], bounds[:number], offsets)


def model_tokens(tokenizer: str) -> Tokenize:
    """Return a function that divides texts into the tokens of a model of the hub or of a folder.

    Raises:
        ValueError: The tokenizer cannot be loaded, or does not say where in the text its tokens are.
    """
    loaded = _loaded(tokenizer)

    def tokenize(texts: Texts) -> Tokens:
        from openthoughts_dagster.questions.matching import token_kernels

        values, starts, ends, counts = [np.empty(0, np.uint64)], [np.empty(0, np.int64)], [np.empty(0, np.int64)], [0]
        listed = texts.as_list(np.arange(len(texts)))
        encoded = loaded(listed, add_special_tokens=False, return_offsets_mapping=True) if listed else {}
        for text, (ids, places) in enumerate(
            zip(encoded.get("input_ids", []), encoded.get("offset_mapping", []), strict=True)
        ):
            begin, end = int(texts.offsets[text]), int(texts.offsets[text + 1])
            bytes_of = np.empty(end - begin + 1, np.int64)
            characters = token_kernels.character_starts(texts.data, begin, end, bytes_of)
            spans = np.asarray(places, np.int64).reshape(-1, 2).clip(0, characters)
            values.append(np.asarray(ids, np.uint64))
            starts.append(bytes_of[spans[:, 0]])
            ends.append(bytes_of[spans[:, 1]])
            counts.append(len(ids))
        every = np.concatenate(values)
        return Tokens(
            every,
            np.full(len(every), WORD_WEIGHT, np.uint8),
            np.concatenate(starts),
            np.concatenate(ends),
            np.zeros(len(every), np.uint8),
            np.asarray(counts, np.int64).cumsum(),
        )

    return tokenize


@cache
def _loaded(tokenizer: str) -> Any:
    from transformers import AutoTokenizer

    try:
        name, commit = split_commit(tokenizer)
        loaded = AutoTokenizer.from_pretrained(name, revision=commit)
    except (OSError, ValueError) as error:
        raise ValueError(
            f"decontamination.tokenizer: {tokenizer!r} could not be loaded: {str(error).splitlines()[0]}. "
            "Name a model of the hub or a folder, or leave it out to count words"
        ) from error
    if not loaded.is_fast:
        raise ValueError(
            f"decontamination.tokenizer: {tokenizer!r} has no fast tokenizer, which says where its tokens are in the "
            "text. Name a model that has one, or leave it out to count words"
        )
    return loaded
