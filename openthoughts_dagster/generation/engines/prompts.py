"""Rendered prompts as tokens, and the tokens in which a model thinks."""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from openthoughts_dagster.generation.engine import EngineError
from openthoughts_dagster.generation.reasoning import CLOSE, OPEN, opens_reasoning

_CACHED = 64  # prompts: the samples of one prompt are asked one after the other
_CACHED_LETTERS = 20_000


class Unaskable(ValueError):
    """A prompt that the model cannot take; `tokens` is its length where it is known."""

    def __init__(self, problem: str, tokens: int = 0) -> None:
        super().__init__(problem)
        self.tokens = tokens


class Prompts:
    """Turns rendered prompts into tokens and sees to it that they fit the model's longest sequence."""

    def __init__(self, name: str, tokenizer: Any, longest: int | None) -> None:
        self._name = name
        self._tokenizer = tokenizer
        self.longest = longest
        self._cached = lru_cache(maxsize=_CACHED)(self._encode)
        self.opening, self.closing = self._encode(OPEN), self._encode(CLOSE)
        self.thinks = len(self.opening) == len(self.closing) == 1

    def tokens(self, prompt: str) -> list[int]:
        """The tokens of `prompt`. Raises Unaskable when it is no Unicode, empty or too long."""
        try:
            tokens = self._cached(prompt) if len(prompt) < _CACHED_LETTERS else self._encode(prompt)
        except (TypeError, UnicodeEncodeError) as error:
            raise Unaskable(f"the prompt is not Unicode: it has half a surrogate pair ({error})") from error
        if not tokens:
            raise Unaskable("the prompt is empty")
        if self.longest is not None and len(tokens) >= self.longest:
            raise Unaskable(
                f"the prompt has {len(tokens):,} tokens, the model takes {self.longest:,} with its answer", len(tokens)
            )
        return tokens

    def room(self, tokens: Sequence[int], wanted: int) -> int:
        """How long the completion may become: `wanted` tokens, or what is left of the longest sequence."""
        return wanted if self.longest is None else min(wanted, self.longest - len(tokens))

    def need_thinking(self) -> None:
        """Raises EngineError when the model has no tokens to open and close its reasoning."""
        if not self.thinks:
            raise EngineError(
                f"{self._name}: sampling.thinking_budget is set, but the model has no tokens {OPEN} and {CLOSE}, so "
                "its reasoning cannot be closed: remove thinking_budget and bound it by max_tokens"
            )

    def thinking_tokens(self, prompt: str, tokens: Sequence[int]) -> int:
        """How many tokens of a completion are reasoning."""
        if not self.thinks:
            return 0
        [opening], [closing] = self.opening, self.closing
        start = 0 if opens_reasoning(prompt) else next((i + 1 for i, t in enumerate(tokens) if t == opening), None)
        if start is None:
            return 0
        end = next((i for i, t in enumerate(tokens[start:], start) if t == closing), len(tokens))
        return end - start

    def _encode(self, text: str) -> list[int]:
        return list(self._tokenizer.encode(text, add_special_tokens=False))
