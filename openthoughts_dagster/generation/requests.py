"""What goes into an engine and what comes out: requests and completions, and the key that ties them together."""

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

FINISHED = frozenset({"stop", "thinking_budget"})
"""The reasons with which the model ended its answer itself; after any other one the text is cut off."""


@dataclass(frozen=True)
class ModelIdentity:
    """Which weights answer.

    `model_id` is the hub's or the server's name of the model, or the folder of a checkpoint; `revision` the commit,
    or the hash of the folder's files. `local` says that it is a folder: then only the content counts, so that
    moving a checkpoint pays for nothing twice. `asked_with` are parameters of the server's own that the recipe sends
    along (`parameters.extra`), as JSON: they change what is answered.
    """

    model_id: str
    revision: str
    local: bool = False
    asked_with: str = ""

    @property
    def partition(self) -> str:
        """Where the ledger keeps this model's completions."""
        return f"local@{self.revision}" if self.local else f"{self.model_id}@{self.revision}"


@dataclass(frozen=True)
class Prompt:
    """A user message for a model, asked `samples` times.

    `first_sample` is the index of the first sample: asking again after a reply that could not be read is another
    sample of the same prompt. `json_schema`, when given, is the shape of the reply.
    """

    user: str
    samples: int = 1
    first_sample: int = 0
    json_schema: dict[str, Any] | None = field(default=None, hash=False)


@dataclass(frozen=True)
class Answer:
    """One completion as it stands in the ledger: reasoning apart from the answer, `error` when there is none."""

    key: str
    sample_index: int
    reasoning: str | None
    answer: str
    finish_reason: str
    error: str | None
    prompt_tokens: int
    completion_tokens: int


# What the domain folders ask models with: for each prompt the list of its samples, in order.
AskModel = Callable[[Sequence[Prompt]], list[list[Answer]]]


@dataclass(frozen=True)
class Request:
    """One sample of one prompt. Every sample is a request of its own, so 15 of 16 done means one left to ask."""

    key: str
    sample_index: int
    prompt: str
    sampling: Sampling
    messages: tuple[Message, ...] = ()
    json_schema: dict[str, Any] | None = field(default=None, hash=False)

    @property
    def seed(self) -> int:
        """31-bit seed of this sample, from its key and index.

        The key holds the recipe's seed. One seed for the same sample of every prompt would give all of them the
        same random numbers, and answers that err together.
        """
        return int(text_hash(self.key, str(self.sample_index))[:8], 16) >> 1


@dataclass(frozen=True)
class Completion:
    """What an engine returned for a request.

    `text` is everything the model wrote, reasoning included. `finish_reason` is one of FINISH_REASONS, or a server's
    own word that means none of them. `error` is None when the text is an answer; otherwise it says what happened.
    `permanent` says that asking the same again cannot help: the prompt is too long, the server refuses its content,
    the sample's JSON does not fit its schema.
    `retries` counts the attempts before the last one. `served` is what the ledger's column `engine` says of this
    completion beside the engine: what the server called its model, and whether the tokens are an estimate.
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
    served: tuple[tuple[str, str], ...] = ()
    created_at: datetime = field(default_factory=lambda: datetime.now(UTC))


def messages_for(model: ModelReference, user: str) -> tuple[Message, ...]:
    """The conversation that asks `model`: its system prompt, when it has one, and the user's text."""
    system: list[Message] = [{"role": "system", "content": model.system_prompt}] if model.system_prompt else []
    return (*system, {"role": "user", "content": user})


def completion_keys(
    identity: ModelIdentity, prompts: Sequence[str], sampling: Sampling, json_schema: dict[str, Any] | None = None
) -> list[str]:
    """Keys of the completions of rendered prompts: model id and revision, the prompt, and how it is sampled.

    The engine is not part of it: the same weights asked the same way are the same purchase. Settings that are None
    are not part of it either, so that a new setting leaves the keys of what was paid before alone.
    """
    asked = value_hash(identity_of(sampling))
    model = [identity.partition, identity.asked_with] if identity.asked_with else [identity.partition]
    return text_hashes(model, prompts, [asked, json.dumps(json_schema, sort_keys=True)])
