"""Rendered prompts as tokens, and the tokens in which a model thinks."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from openthoughts_dagster.generation.engine import EngineError
from openthoughts_dagster.generation.reasoning import CLOSE, OPEN, opens_reasoning
from openthoughts_dagster.lake.unicode import has_lone_surrogate

_CACHED = 64  # prompts: the samples of one prompt are asked one after the other
_CACHED_LETTERS = 20_000


class InvalidPrompt(ValueError):
    """A prompt that the model cannot take; `tokens` is its length where it is known."""

    def __init__(self, problem: str, tokens: int = 0) -> None:
        super().__init__(problem)
        self.tokens = tokens


@dataclass(frozen=True)
class Tags:
    """The tokens that open and close a model's reasoning."""

    opening: int
    closing: int

    def thinking_tokens(self, tokens: Sequence[int], opened: bool) -> int:
        """How many tokens of a completion are reasoning; `opened` says that its prompt has opened it."""
        start = 0 if opened else next((i + 1 for i, token in enumerate(tokens) if token == self.opening), None)
        if start is None:
            return 0
        return next((i for i, t in enumerate(tokens[start:], start) if t == self.closing), len(tokens)) - start


class Prompts:
    """Turns rendered prompts into tokens and sees to it that they fit the model's longest sequence."""

    def __init__(self, tokenizer: Any, longest: int | None) -> None:
        self._tokenizer = tokenizer
        self.longest = longest
        self._cached = lru_cache(maxsize=_CACHED)(self._encode)
        opening, closing = self._encode(OPEN), self._encode(CLOSE)
        self.tags = Tags(opening[0], closing[0]) if len(opening) == len(closing) == 1 else None

    def tokens(self, prompt: str) -> list[int]:
        """The tokens of `prompt`. Raises InvalidPrompt when it is no Unicode, empty or too long."""
        if has_lone_surrogate(prompt):
            raise InvalidPrompt("the prompt is not Unicode: it has half a surrogate pair")
        tokens = self._cached(prompt) if len(prompt) < _CACHED_LETTERS else self._encode(prompt)
        if not tokens:
            raise InvalidPrompt("the prompt is empty")
        if self.longest is not None and len(tokens) >= self.longest:
            raise InvalidPrompt(
                f"the prompt has {len(tokens):,} tokens, the model takes {self.longest:,} with its answer", len(tokens)
            )
        return tokens

    def max_new_tokens(self, tokens: Sequence[int], wanted: int) -> int:
        """How long the completion may become: `wanted` tokens, or what is left of the longest sequence."""
        return wanted if self.longest is None else min(wanted, self.longest - len(tokens))

    def count(self, text: str) -> int:
        """The number of tokens of a text."""
        return len(self._encode(text))

    def thinking_tokens(self, prompt: str, tokens: Sequence[int]) -> int:
        """How many tokens of a completion of `prompt` are reasoning."""
        return self.tags.thinking_tokens(tokens, opens_reasoning(prompt)) if self.tags else 0

    def _encode(self, text: str) -> list[int]:
        return list(self._tokenizer.encode(text, add_special_tokens=False))


def estimated_tokens(text: str) -> int:
    """About how many tokens a text has, where no tokenizer is at hand: four bytes of UTF-8 are one."""
    return -(-len(text.encode("utf-8", "replace")) // 4)


def require_reasoning_tags(name: str, tags: Tags | None) -> Tags:
    """The tags, for a thinking budget of the model `name`. Raises EngineError when the model has none."""
    if tags is None:
        raise EngineError(
            f"{name}: sampling.thinking_budget is set, but the model has no tokens {OPEN} and {CLOSE}, so its "
            "reasoning cannot be closed: remove thinking_budget and bound it by max_tokens"
        )
    return tags
