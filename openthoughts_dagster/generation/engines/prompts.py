"""Converts rendered prompts to tokens, and counts the tokens of a model's reasoning."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from openthoughts_dagster.generation.engine import EngineError
from openthoughts_dagster.generation.reasoning import CLOSE, OPEN, opens_reasoning
from openthoughts_dagster.generation.requests import Request
from openthoughts_dagster.lake.unicode import has_lone_surrogate

_CACHED = 64  # prompts in the cache; the samples of a prompt follow each other
_CACHED_LETTERS = 20_000
_RUN = re.compile(r"(.)\1{3,}", re.DOTALL)
_LONG_LETTERS, _LETTERS_OF_A_TOKEN = 2_000, 10


class InvalidPrompt(ValueError):
    """The model cannot take the prompt."""


@dataclass(frozen=True)
class Tags:
    """The tokens that open and close a model's reasoning."""

    opening: int
    closing: int

    def thinking_tokens(self, tokens: Sequence[int], opened: bool) -> int:
        """Count the tokens of reasoning in a completion; `opened` says whether its prompt opened the reasoning."""
        start = 0 if opened else next((i + 1 for i, token in enumerate(tokens) if token == self.opening), None)
        if start is None:
            return 0
        return next((i for i, t in enumerate(tokens[start:], start) if t == self.closing), len(tokens)) - start


@dataclass(frozen=True)
class Beginning:
    """The tokens that a model reads before it writes, and how many it may write.

    The last `written_tokens` are what it wrote under a lower `max_tokens`, and it goes on from there.
    """

    tokens: list[int]
    room: int
    written_tokens: int = 0


class Prompts:
    """Converts rendered prompts to tokens and checks that they fit the model's longest sequence."""

    def __init__(self, tokenizer: Any, longest: int | None) -> None:
        self._tokenizer = tokenizer
        self.longest = longest
        self._cached = lru_cache(maxsize=_CACHED)(self._encode)
        opening, closing = self._encode(OPEN), self._encode(CLOSE)
        self.tags = Tags(opening[0], closing[0]) if len(opening) == len(closing) == 1 else None

    def tokens(self, prompt: str) -> list[int]:
        """Return the tokens of `prompt`. Raises InvalidPrompt if it is not valid Unicode, empty or too long."""
        if has_lone_surrogate(prompt):
            raise InvalidPrompt("the prompt is not Unicode: it has half a surrogate pair")
        tokens = self._cached(prompt) if len(prompt) < _CACHED_LETTERS else self._encode(prompt)
        if not tokens:
            raise InvalidPrompt("the prompt is empty")
        if self.longest is not None and len(tokens) >= self.longest:
            raise InvalidPrompt(
                f"the prompt has {len(tokens):,} tokens, the model takes {self.longest:,} with its answer"
            )
        return tokens

    def beginning(self, request: Request) -> Beginning:
        """Return where a completion begins. Raises InvalidPrompt as `tokens` does."""
        prompt, wanted = self.tokens(request.prompt), request.sampling.max_tokens
        written = self._encode(request.written) if request.written else []
        if written and (room := self.max_new_tokens([*prompt, *written], wanted - len(written))) > 0:
            return Beginning([*prompt, *written], room, len(written))
        return Beginning(prompt, self.max_new_tokens(prompt, wanted))

    def max_new_tokens(self, tokens: Sequence[int], wanted: int) -> int:
        """Return the longest completion in tokens: `wanted`, or what the prompt leaves of the longest sequence."""
        return wanted if self.longest is None else min(wanted, self.longest - len(tokens))

    def count(self, text: str) -> int:
        """Return the number of tokens of a text."""
        return len(self._encode(text))

    def thinking_tokens(self, prompt: str, tokens: Sequence[int]) -> int:
        """Count the tokens of reasoning in a completion of `prompt`."""
        return self.tags.thinking_tokens(tokens, opens_reasoning(prompt)) if self.tags else 0

    def _encode(self, text: str) -> list[int]:
        return list(self._tokenizer.encode(text, add_special_tokens=False))


def estimated_tokens(text: str) -> int:
    """Estimate the number of tokens of a text without a tokenizer, at four bytes of UTF-8 each."""
    return -(-len(text.encode("utf-8", "replace")) // 4)


def is_far_too_few(tokens: int, request: Request) -> bool:
    """Return whether a server that renders the prompt counted so few tokens that it has probably cut a long prompt.

    Its tokenizer is not known. In every language a token of running text has fewer than ten letters in the mean; runs
    of one sign, such as blanks and rules of tables, are counted as one letter, because they may be one token.
    """
    most = max(_LONG_LETTERS - 1, tokens * _LETTERS_OF_A_TOKEN)
    texts = [message["content"] for message in request.messages]
    if sum(map(len, texts)) <= most:  # of most prompts, whose letters are then looked at no further
        return False
    return sum(len(_RUN.sub(r"\1", text)) for text in texts) > most


def require_reasoning_tags(name: str, tags: Tags | None) -> Tags:
    """Return the tags. Raises EngineError if the model `name` has none, since a thinking budget needs them."""
    if tags is None:
        raise EngineError(
            f"{name}: sampling.thinking_budget is set, but the model has no tokens {OPEN} and {CLOSE}, so its "
            "reasoning cannot be closed: remove thinking_budget and bound it by max_tokens"
        )
    return tags
