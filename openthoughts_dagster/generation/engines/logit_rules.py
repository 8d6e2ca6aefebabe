"""Constrains the next token in transformers by a JSON schema or a thinking budget, and ends rows of a batch early."""

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

from openthoughts_dagster.generation.engines.prompts import Tags
from openthoughts_dagster.generation.reasoning import opens_reasoning
from openthoughts_dagster.generation.requests import Request


def grammar_maker(tokenizer: Any, vocabulary: int, ends: set[int]) -> Callable[[str], Any]:
    """Return a function that makes a new llguidance matcher of a JSON schema, which is given as text."""
    from llguidance import LLMatcher
    from llguidance.hf import from_tokenizer

    words = from_tokenizer(tokenizer, n_vocab=vocabulary, eos_token=sorted(ends))

    @lru_cache(maxsize=64)
    def compiled(schema: str) -> Any:
        matcher = LLMatcher(words, LLMatcher.grammar_from_json_schema(schema))
        if matcher.is_error():
            raise ValueError(f"the JSON schema cannot be used: {matcher.get_error()}")
        return matcher

    return lambda schema: compiled(schema).deep_copy()


def binding_processor(requests: Sequence[Request], width: int, matchers: Sequence[Any], tags: Tags | None) -> Any:
    """Make a LogitsProcessor for a batch of prompts that are left-padded to `width` tokens.

    The grammar of `matchers[i]`, if it is not None, constrains row i from its first token, or from the end of its
    reasoning when the prompt opened one. A thinking budget forces the closing tag after that many tokens of reasoning.
    """
    import torch
    from transformers import LogitsProcessor

    class Binding(LogitsProcessor):
        def __init__(self) -> None:
            opened = [opens_reasoning(request.prompt) for request in requests]
            # index of the completion's token at which a row's reasoning began; None outside of reasoning
            self._thinking_since: list[int | None] = [0 if is_open else None for is_open in opened]
            self._bound = [not is_open for is_open in opened]

        def __call__(self, input_ids: torch.LongTensor, scores: torch.FloatTensor) -> torch.FloatTensor:
            length = input_ids.shape[1] - width
            last = input_ids[:, -1].tolist() if length else None
            for row, request in enumerate(requests):
                if last is not None:
                    self._take(row, last[row], length)
                budget, since = request.sampling.thinking_budget, self._thinking_since[row]
                if tags and budget is not None and since is not None and length - since >= budget:
                    scores[row] = -torch.inf
                    scores[row, tags.closing] = 0.0
                elif matchers[row] is not None and self._bound[row] and not matchers[row].is_error():
                    allowed = torch.frombuffer(bytearray(matchers[row].compute_logit_bias()), dtype=torch.uint8)
                    forbidden = torch.ones(scores.shape[1], dtype=torch.bool)
                    forbidden[: len(allowed)] = allowed[: scores.shape[1]] == 0
                    scores[row].masked_fill_(forbidden.to(scores.device), -torch.inf)
            return scores

        def _take(self, row: int, token: int, length: int) -> None:
            if matchers[row] is not None and self._bound[row] and not matchers[row].is_stopped():
                matchers[row].consume_token(token)
            if tags and token == tags.closing:
                self._thinking_since[row], self._bound[row] = None, True
            elif tags and token == tags.opening and self._thinking_since[row] is None and not matchers[row]:
                self._thinking_since[row] = length

    return Binding()


class Endings:
    """A stopping criterion for transformers that records why and after how many tokens each row of a batch ended."""

    def __init__(self, requests: Sequence[Request], width: int, rooms: Sequence[int], ends: set[int]) -> None:
        self._requests, self._width, self._rooms, self._ends = requests, width, rooms, ends
        self.longest = max(rooms)
        self.canceled = False
        self.ended: dict[int, tuple[int, str]] = {}

    def __call__(self, input_ids: Any, scores: Any, **_: Any) -> Any:
        """Return which rows have ended; transformers calls it after every token."""
        import torch

        length = input_ids.shape[1] - self._width
        last = input_ids[:, -1].tolist()
        for row, request in enumerate(self._requests):
            if row in self.ended:
                continue
            guard = request.sampling.repetition
            if last[row] in self._ends:
                self.ended[row] = (length, "stop")
            elif length >= self._rooms[row]:
                self.ended[row] = (length, "length")
            elif guard is not None:
                tail = input_ids[row, self._width :][-guard.longest * guard.times :].tolist()
                if repeats(tail, guard.shortest, guard.longest, guard.times):
                    self.ended[row] = (length, "repetition")
        done = [self.canceled or row in self.ended for row in range(len(self._requests))]
        return torch.tensor(done, device=input_ids.device)


def repeats(tokens: Sequence[int], shortest: int, longest: int, times: int) -> bool:
    """Return whether the last tokens are a passage of `shortest` to `longest` tokens, `times` in a row, as in vLLM."""
    for size in range(shortest, longest + 1):
        if size * times > len(tokens):
            return False
        tail = tokens[len(tokens) - size * times :]
        if tail[size:] == tail[:-size]:
            return True
    return False
