"""Embeddings of questions, and how much nearer one is to the good examples than to the bad ones."""

import json
import os
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from openthoughts_dagster.recipe import EmbeddingScore

Vectors = npt.NDArray[np.float32]
_TOKENS = 512
_ATTEMPTS = 5
_DEFAULT_URL = "https://api.openai.com/v1"


class EmbeddingError(RuntimeError):
    """An embedding model that cannot be loaded or asked, with what to change."""


def embedding_scores(
    questions: Sequence[str], positives: Sequence[str], negatives: Sequence[str], settings: EmbeddingScore
) -> list[float]:
    """Mean cosine similarity to `positives` less mean cosine similarity to `negatives`, from -2 to 2.

    Raises EmbeddingError when the model cannot be loaded, or its server does not answer.
    """
    embed = _transformers if settings.engine == "transformers" else _openai
    # The mean of cosines to many vectors is the cosine to their mean: nothing grows with their number.
    wanted, unwanted = (_mean(embed(texts, settings)) for texts in (positives, negatives))
    return [float(value) for block in embed(questions, settings) for value in block @ (wanted - unwanted)]


def _mean(blocks: Iterator[Vectors]) -> Vectors:
    total, number = np.zeros(1, np.float32), 0
    for block in blocks:
        total, number = total + block.sum(axis=0), number + len(block)
    return np.asarray(total / max(1, number), np.float32)


def _unit(vectors: Any) -> Vectors:
    array = np.asarray(vectors, np.float32)
    return array / np.maximum(np.linalg.norm(array, axis=1, keepdims=True), 1e-12)


def _transformers(texts: Sequence[str], settings: EmbeddingScore) -> Iterator[Vectors]:
    import torch
    from transformers import AutoModel, AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(settings.model, revision=settings.revision)
        model = AutoModel.from_pretrained(settings.model, revision=settings.revision).eval()
    except (OSError, ValueError) as error:
        raise EmbeddingError(
            f"scores.{settings.name}.model: {settings.model!r} could not be loaded: {str(error).splitlines()[0]}. "
            "Name an encoder of the hub, or the folder of one"
        ) from error
    tokenizer.padding_side = "right"
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    device = "cuda" if torch.cuda.is_available() else "cpu"
    model.to(device)
    for start in range(0, len(texts), settings.batch_size):
        batch = tokenizer(
            list(texts[start : start + settings.batch_size]),
            padding=True,
            truncation=True,
            max_length=min(_TOKENS, tokenizer.model_max_length),
            return_tensors="pt",
        ).to(device)
        with torch.inference_mode():
            states = model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).last_hidden_state
        mask = batch["attention_mask"].unsqueeze(-1).to(states.dtype)
        if settings.pooling == "mean":
            pooled = (states * mask).sum(1) / mask.sum(1).clamp(min=1)
        elif settings.pooling == "first":
            pooled = states[:, 0]
        else:
            pooled = states[torch.arange(len(states)), (batch["attention_mask"].sum(1) - 1).clamp(min=0)]
        yield _unit(pooled.float().cpu().numpy())


def _openai(texts: Sequence[str], settings: EmbeddingScore) -> Iterator[Vectors]:
    key = os.environ.get(settings.api_key_env, "") if settings.api_key_env else "none"
    if not key:
        raise EmbeddingError(f"scores.{settings.name}.api_key_env: {settings.api_key_env} is not set; set it")
    address = f"{(settings.base_url or _DEFAULT_URL).rstrip('/')}/embeddings"
    for start in range(0, len(texts), settings.batch_size):
        batch = list(texts[start : start + settings.batch_size])
        data = json.dumps({"model": settings.model, "input": batch}).encode()
        headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
        reply = _posted(urllib.request.Request(address, data, headers), settings)
        try:
            vectors = [item["embedding"] for item in sorted(reply["data"], key=lambda item: item["index"])]
        except (KeyError, TypeError) as error:
            raise EmbeddingError(f"scores.{settings.name}: {address} sent no embeddings: {str(reply)[:200]}") from error
        if len(vectors) != len(batch):
            raise EmbeddingError(f"scores.{settings.name}: {address} sent {len(vectors)} embeddings for {len(batch)}")
        yield _unit(vectors)


def _posted(request: urllib.request.Request, settings: EmbeddingScore) -> Any:
    """The reply to a request that is asked again while the server is busy or away."""
    for attempt in range(_ATTEMPTS):
        try:
            with urllib.request.urlopen(request, timeout=300) as reply:
                return json.load(reply)
        except (OSError, ValueError) as error:
            refused = isinstance(error, urllib.error.HTTPError) and error.code < 500 and error.code not in (408, 429)
            if refused or attempt == _ATTEMPTS - 1:
                raise EmbeddingError(
                    f"scores.{settings.name}: {request.full_url} did not embed with {settings.model!r}: {error}. "
                    "Check base_url, model and the key"
                ) from error
            time.sleep(min(30, 2**attempt))
    raise AssertionError("unreachable")
