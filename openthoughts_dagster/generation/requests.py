"""The requests and completions of engines, and the keys that identify them."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from openthoughts_dagster.lake import text_hash, text_hashes, value_hash
from openthoughts_dagster.recipe import ModelReference, Sampling, identity_of

Message = dict[str, str]

FINISH_REASONS = {
    "stop": "the model ended its answer",
    "length": "max_tokens, or the model's longest sequence, cut it off",
    "thinking_budget": "the model ended its answer after the sampling's thinking budget had closed its reasoning",
    "repetition": "the sampling's repetition guard stopped it",
    "invalid_json": "the answer is not the JSON that was asked for; `error` says where, and the text is kept",
    "content_filter": "the server withheld it",
    "error": "there is no answer, and `error` says why",
    "unknown": "the server gave no reason; the answer does not count as finished",
}

PERHAPS_CUT = "prompt_perhaps_cut"
"""What `served` of a completion has if its server counted so few tokens that it may have cut the prompt."""

FINISHED = frozenset({"stop", "thinking_budget"})
"""The reasons that say that the model ended its answer itself. With any other reason the text is cut off."""


@dataclass(frozen=True)
class ModelIdentity:
    """The identity of the weights that answer.

    Args:
        model_id: The hub's or the server's name of the model, or the folder of a checkpoint.
        revision: The commit, or the hash of the folder's files.
        local: Whether it is a folder. Then only its content counts, so that a moved checkpoint costs nothing.
        asked_with: The server's own parameters in the recipe (`parameters.extra`), as JSON; they change the answers.
    """

    model_id: str
    revision: str
    local: bool = False
    asked_with: str = ""

    @property
    def partition(self) -> str:
        """The partition of the ledger that has this model's completions."""
        return f"local@{self.revision}" if self.local else f"{self.model_id}@{self.revision}"


@dataclass(frozen=True)
class Prompt:
    """A user message for a model.

    Args:
        user: The text of the message.
        samples: How many answers are sampled.
        first_sample: Index of the first sample. A retry after an unreadable reply asks for the next sample.
        json_schema: The JSON schema of the reply; None for free text.
    """

    user: str
    samples: int = 1
    first_sample: int = 0
    json_schema: dict[str, Any] | None = field(default=None, hash=False)


@dataclass(frozen=True)
class Answer:
    """One completion of the ledger, split into reasoning and answer; `error` says why there is no answer.

    `completion_id` and its partition `model` name its row of the ledger; they are empty where no ledger was asked.
    """

    key: str
    sample_index: int
    reasoning: str | None
    answer: str
    finish_reason: str
    error: str | None
    prompt_tokens: int
    completion_tokens: int
    completion_id: str = ""
    model: str = ""


# Asks a model: returns for each prompt the list of its samples, in order.
AskModel = Callable[[Sequence[Prompt]], list[list[Answer]]]


@dataclass(frozen=True)
class Request:
    """One sample of one prompt. Every sample is its own request: if 15 of 16 are there, only one is asked.

    `written` is what the model has written to it before a lower `max_tokens` cut it off, and is not paid for again.
    """

    key: str
    sample_index: int
    prompt: str
    sampling: Sampling
    messages: tuple[Message, ...] = ()
    json_schema: dict[str, Any] | None = field(default=None, hash=False)
    written: str = ""

    @property
    def seed(self) -> int:
        """The 31-bit seed of this sample, made from its key and index.

        The key contains the recipe's seed. If all prompts had the same seed for a sample, they would be sampled with
        the same random numbers, and their errors would be correlated.
        """
        return sample_seed(self.key, self.sample_index)


def sample_seed(key: str, sample_index: int) -> int:
    """Return the 31-bit seed with which a sample of a key is drawn."""
    return int(text_hash(key, str(sample_index))[:8], 16) >> 1


@dataclass(frozen=True)
class Completion:
    """What an engine returned for a request.

    Args:
        request: The request.
        text: Everything that the model wrote, with its reasoning.
        finish_reason: One of FINISH_REASONS, or a server's own word that means none of them.
        prompt_tokens: Tokens of the prompt.
        completion_tokens: Tokens of reasoning and answer.
        seconds: Seconds from the request to the last token.
        cached_tokens: Tokens of the prompt that the engine had in its cache.
        error: What went wrong; None if the text is an answer.
        retries: Attempts before the last one.
        permanent: Whether asking again cannot help, because the prompt is too long, the server refuses its content, or
            the sample's JSON does not fit its schema.
        written_tokens: Those of `completion_tokens` that were written and paid for under a lower `max_tokens`.
        served: What the ledger records about the server: its name of the model, and whether the tokens are estimated.
        created_at: When it was finished, UTC.
    """

    request: Request
    text: str
    finish_reason: str
    prompt_tokens: int
    completion_tokens: int
    seconds: float
    cached_tokens: int = 0
    error: str | None = None
    retries: int = 0
    permanent: bool = False
    written_tokens: int = 0
    served: tuple[tuple[str, str], ...] = ()
    created_at: datetime = field(default_factory=lambda: datetime.now(UTC))

    @property
    def new_tokens(self) -> int:
        """The tokens that were generated, and are paid for, by this request."""
        return self.completion_tokens - self.written_tokens


def messages_for(model: ModelReference, user: str) -> tuple[Message, ...]:
    """Return the conversation that asks `model`: its system prompt, if it has one, and the user's text."""
    system: list[Message] = [{"role": "system", "content": model.system_prompt}] if model.system_prompt else []
    return (*system, {"role": "user", "content": user})


def completion_keys(
    identity: ModelIdentity, prompts: Sequence[str], sampling: Sampling, json_schema: dict[str, Any] | None = None
) -> list[str]:
    """Return the keys of completions: hashes of the model and its revision, the prompt and the sampling.

    The engine is not part of a key, because the same weights give the same answers on every engine. Settings that are
    None are not part of it either, so that a new setting does not change the keys of earlier completions.

    Args:
        identity: The weights that answer.
        prompts: Rendered prompts.
        sampling: How the model samples.
        json_schema: The JSON schema of the replies; None for free text.

    Returns:
        One key for each prompt, in order.
    """
    asked = value_hash(identity_of(sampling))
    model = [identity.partition, identity.asked_with] if identity.asked_with else [identity.partition]
    return text_hashes(model, prompts, [asked, json.dumps(json_schema, sort_keys=True)])
