"""Answers that somebody published: they are read from a data set, matched by the question's text, at no cost."""

import asyncio
import time
from collections.abc import AsyncIterable, AsyncIterator
from pathlib import Path
from typing import Any

from openthoughts_dagster.generation.engine import EngineError
from openthoughts_dagster.generation.engines.fan_out import fan_out
from openthoughts_dagster.generation.engines.finishing import make_completion, make_failure
from openthoughts_dagster.generation.engines.prompts import estimated_tokens
from openthoughts_dagster.generation.model import Model
from openthoughts_dagster.generation.published import PublishedIndex
from openthoughts_dagster.generation.reasoning import split_reasoning
from openthoughts_dagster.generation.requests import Completion, Request


async def start_published(model: Model) -> "PublishedEngine":
    """Read the data set, from its folder or from the hub.

    Raises:
        EngineError: It cannot be had, or has no questions with answers.
    """
    return PublishedEngine(model, await asyncio.to_thread(_read, model))


def _read(model: Model) -> PublishedIndex:
    reference = model.reference
    folder = model.address if model.identity.local else _download(model)
    return PublishedIndex(Path(folder), reference.published, reference.name)


def _download(model: Model) -> str:
    from huggingface_hub import snapshot_download

    try:
        return str(snapshot_download(model.address, repo_type="dataset", revision=model.identity.revision))
    except Exception as error:  # errors of the hub and of the network have no common class
        raise EngineError(
            f"{model.reference.name}: the data set {model.address!r} cannot be fetched: {type(error).__name__}: "
            f"{error}. Check the network, and HF_TOKEN for gated data sets; or put a copy below OPENTHOUGHTS_DATASETS"
        ) from error


class PublishedEngine:
    """Sample n of a question is its n-th answer in the data set; a question without it fails for good."""

    def __init__(self, model: Model, index: PublishedIndex) -> None:
        self._model, self._index = model, index

    def generate(self, requests: AsyncIterable[Request]) -> AsyncIterator[Completion]:
        """Completions of `requests`, each as soon as it is read."""
        return fan_out(requests, self._model.reference.max_in_flight, self._complete)

    def describe(self) -> dict[str, Any]:
        """What the ledger records beside every completion."""
        return {"name": "published", "version": self._model.identity.revision, "questions": len(self._index)}

    async def close(self) -> None:
        """Remove the texts from the disk."""
        self._index.close()

    async def _complete(self, request: Request) -> Completion:
        start, question = time.monotonic(), request.messages[-1]["content"]
        text = self._index.answer(question, request.sample_index)
        if text is None:
            problem = (
                f"the data set {self._model.reference.model} has {self._index.count(question)} answers to this question"
            )
            return make_failure(request, problem, permanent=True)
        parts = split_reasoning(text, request.prompt)
        reason = "length" if parts.reasoning is not None and not parts.answer.strip() else "stop"
        tokens = estimated_tokens(text)
        served = {"token_counts": "estimated"}
        return make_completion(request, text, reason, 0, tokens, time.monotonic() - start, served=served)
