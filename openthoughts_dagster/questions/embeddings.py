"""Embeddings of questions, and scores by their similarity to good and bad examples."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import polars as pl

from openthoughts_dagster.generation.servers.blocking_client import BlockingHttpClient
from openthoughts_dagster.generation.servers.http_client import HttpReply
from openthoughts_dagster.generation.servers.retry_policy import FatalServerError, RequestFailed
from openthoughts_dagster.generation.servers.secrets import read_api_key
from openthoughts_dagster.lake import EMBEDDINGS, Lake, folder_hash, read_slices, text_hash
from openthoughts_dagster.recipe import EmbeddingScore, Retry

Vectors = npt.NDArray[np.float32]
_TOKENS = 512
_BATCHES = 16  # embedded together, sorted by length
_POOLING: dict[str, Any] = {"mean": "mean", "first": "cls", "last": "lasttoken"}
_RETRY = Retry(attempts=5, request_seconds=300)
_AT_ONCE = 4096  # vectors in memory at the same time
_COMMIT_SECONDS = 15
_DEFAULT_URL = "https://api.openai.com/v1"


class EmbeddingError(RuntimeError):
    """The embedding model cannot be loaded or asked; the message says what to change."""


def embedding_scores(
    questions: Sequence[str], positives: Sequence[str], negatives: Sequence[str], settings: EmbeddingScore, lake: Lake
) -> list[float]:
    """Score questions by the mean cosine similarity to `positives` minus that to `negatives`.

    Embeddings are stored in the lake as they are made, so that scoring again embeds only new texts.

    Args:
        questions: The questions to score.
        positives: Examples that are wanted.
        negatives: Examples that are not wanted.
        settings: The embedding model.
        lake: The tables; embeddings are in the table `embeddings`.

    Returns:
        One score from -2 to 2 for each question, in order.

    Raises:
        EmbeddingError: The model cannot be loaded, or its server does not answer.
    """
    encoder = local_encoder(settings) if settings.engine == "transformers" else _Server(settings)
    keep(lake, encoder, [*questions, *positives, *negatives])
    # The mean of dot products with many unit vectors is the dot product with their mean, so memory stays constant.
    wanted, unwanted = (_mean(lake, encoder, texts) for texts in (positives, negatives))
    scores: dict[str, float] = {}
    for texts, vectors in _kept(lake, encoder, questions):
        # double precision and rounding, so that scores do not depend on the batches
        scores |= zip(texts, np.round(vectors @ (wanted - unwanted), 6).tolist(), strict=True)
    return [scores[text_hash(question)] for question in questions]


class Encoder(Protocol):
    """Embeds texts as vectors of length 1; `name` identifies everything that the vectors depend on."""

    name: str

    def embed(self, texts: Sequence[str]) -> Iterator[Vectors]:
        """Yield the vectors of all texts, in order, in blocks of rows."""


def keep(lake: Lake, encoder: Encoder, texts: Sequence[str]) -> int:
    """Embed the texts that the lake lacks, and store their vectors.

    Args:
        lake: The tables. Vectors that were made before an error are stored too.
        encoder: Embeds the texts.
        texts: The texts.

    Returns:
        The number of texts that were embedded.
    """
    by_hash = {text_hash(text): text for text in texts}
    known = set(lake.scan(EMBEDDINGS, encoder=encoder.name).select("text").collect()["text"])
    missing = [key for key in by_hash if key not in known]
    blocks, committed, since = list[Vectors](), 0, time.monotonic()

    def commit() -> None:
        nonlocal committed, since
        if blocks:
            vectors = np.concatenate(blocks)
            texts, shape = missing[committed : committed + len(vectors)], pl.Array(pl.Float32, vectors.shape[1])
            vector = pl.Series(vectors, dtype=shape).arr.to_list()
            lake.append(EMBEDDINGS, pl.DataFrame({"encoder": encoder.name, "text": texts, "vector": vector}))
            committed, since = committed + len(vectors), time.monotonic()
            blocks.clear()

    try:
        for block in encoder.embed([by_hash[key] for key in missing]) if missing else ():
            if not np.isfinite(block).all():
                raise EmbeddingError(f"{encoder.name}: numbers of its embeddings are not finite; use another model")
            blocks.append(block)
            if sum(map(len, blocks)) >= _AT_ONCE or time.monotonic() - since > _COMMIT_SECONDS:
                commit()
    finally:
        commit()
    lake.compact(EMBEDDINGS, encoder=encoder.name)
    return len(missing)


def _kept(lake: Lake, encoder: Encoder, texts: Sequence[str]) -> Iterator[tuple[list[str], Vectors]]:
    """Yield the hashes and vectors of `texts`, each once, in any order, a few thousand at a time."""
    hashes = pl.Series([text_hash(text) for text in texts], dtype=pl.String).unique()
    seen, sizes = set[str](), set[int]()
    for batch in read_slices(lake.scan(EMBEDDINGS, encoder=encoder.name), _AT_ONCE):
        # sources that are scored at the same time may both have embedded a shared example
        batch = batch.filter(pl.col("text").is_in(hashes.implode())).unique("text", keep="first", maintain_order=True)
        batch = batch.filter(pl.Series([text not in seen for text in batch["text"]], dtype=pl.Boolean))
        if batch.height:
            seen |= set(batch["text"])
            sizes |= set(batch["vector"].list.len())
            if len(sizes) > 1:
                counts = " and ".join(map(str, sorted(sizes)))
                raise EmbeddingError(
                    f"{encoder.name}: its embeddings have {counts} numbers: it is another model now. Delete "
                    f"its old rows from the table {EMBEDDINGS.name}, or serve it under a new name"
                )
            yield batch["text"].to_list(), batch["vector"].list.to_array(max(sizes)).to_numpy()


def _mean(lake: Lake, encoder: Encoder, texts: Sequence[str]) -> npt.NDArray[np.float64]:
    """Return the mean of the vectors of `texts`, each counted once."""
    total, number = np.zeros(1), 0
    for _, vectors in _kept(lake, encoder, texts):
        total, number = total + vectors.sum(axis=0, dtype=np.float64), number + len(vectors)
    return total / max(1, number)


def local_encoder(settings: EmbeddingScore) -> Encoder:
    """Return the encoder of the hub or of a folder that the settings name; it runs in this process."""
    return _LocalEncoder(settings)


def _unit(vectors: Any) -> Vectors:
    array = np.asarray(vectors, np.float32)
    return array / np.maximum(np.linalg.norm(array, axis=1, keepdims=True), 1e-12)


class _LocalEncoder:
    """An encoder of the hub or of a folder that runs in this process."""

    def __init__(self, settings: EmbeddingScore) -> None:
        from transformers import AutoConfig

        self._settings = settings
        with _named(settings):
            config = AutoConfig.from_pretrained(settings.model, revision=settings.revision)
        folder = Path(settings.model)
        revision = folder_hash(folder) if folder.is_dir() else config._commit_hash or settings.revision
        self.name = f"{settings.model}@{revision} {settings.pooling}"

    def embed(self, texts: Sequence[str]) -> Iterator[Vectors]:
        """Embed in blocks of batches, on a GPU if there is one."""
        model, size = self._load(), self._settings.batch_size
        for start in range(0, len(texts), _BATCHES * size):
            block = list(texts[start : start + _BATCHES * size])
            yield _unit(model.encode(block, batch_size=size, show_progress_bar=False))

    def _load(self) -> Any:
        """Load the encoder as the settings describe it, whatever its files say of pooling, prompts and templates.

        Texts are embedded as they are. Without `modality_config` the library would put them into the chat template of
        a model that has one, and give other vectors. Padding on the right keeps the positions of causal models.
        """
        import torch
        from sentence_transformers import SentenceTransformer
        from sentence_transformers.sentence_transformer.modules import Pooling, Transformer

        settings = self._settings
        pinned = {"revision": settings.revision} if settings.revision else {}
        with _named(settings):
            encoder = Transformer(
                settings.model,
                model_kwargs=dict(pinned),
                config_kwargs=dict(pinned),
                processor_kwargs={"padding_side": "right", **pinned},
                modality_config={"text": {"method": "forward", "method_output_name": "last_hidden_state"}},
                module_output_name="token_embeddings",
            )
        tokenizer = encoder.tokenizer
        encoder.max_seq_length = min(_TOKENS, tokenizer.model_max_length)
        if tokenizer.pad_token is None:
            tokenizer.pad_token = tokenizer.eos_token
        pooling = Pooling(encoder.get_embedding_dimension(), _POOLING[settings.pooling])
        device = "cuda" if torch.cuda.is_available() else "cpu"
        return SentenceTransformer(modules=[encoder, pooling], device=device)


@contextmanager
def _named(settings: EmbeddingScore) -> Iterator[None]:
    try:
        yield
    except (OSError, ValueError) as error:
        raise EmbeddingError(
            f"scores.{settings.name}.model: {settings.model!r} could not be loaded: {str(error).splitlines()[0]}. "
            "Name an encoder of the hub, or the folder of one"
        ) from error


class _Server:
    """An encoder that asks the /embeddings of an OpenAI-compatible server."""

    def __init__(self, settings: EmbeddingScore) -> None:
        self._settings = settings
        self._address = f"{(settings.base_url or _DEFAULT_URL).rstrip('/')}/embeddings"
        self.name = f"{settings.model} of {self._address}"

    def embed(self, texts: Sequence[str]) -> Iterator[Vectors]:
        """Embed with one request for each batch."""
        settings, address = self._settings, self._address
        try:
            key = read_api_key(settings.api_key_env)
        except ValueError as error:
            raise EmbeddingError(f"scores.{settings.name}.api_key_env: {error}; set it") from None
        with BlockingHttpClient(settings.base_url or _DEFAULT_URL, key, _RETRY) as server:
            for start in range(0, len(texts), settings.batch_size):
                batch = list(texts[start : start + settings.batch_size])
                try:
                    reply = server.post("/embeddings", {"model": settings.model, "input": batch})
                except (RequestFailed, FatalServerError) as error:
                    raise EmbeddingError(
                        f"scores.{settings.name}: {address} did not embed with {settings.model!r}: {error}. "
                        "Check base_url, model and the key"
                    ) from None
                yield _unit(self._vectors(reply, len(batch)))

    def _vectors(self, reply: HttpReply, count: int) -> list[list[float]]:
        what = f"scores.{self._settings.name}: {self._address} sent"
        try:
            vectors = [item["embedding"] for item in sorted(reply.body["data"], key=lambda item: item["index"])]
        except (KeyError, TypeError):
            raise EmbeddingError(f"{what} no embeddings: {reply.text[:200]}") from None
        if len(vectors) != count:
            raise EmbeddingError(f"{what} {len(vectors)} embeddings for {count}")
        return vectors
