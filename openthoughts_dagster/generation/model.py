"""A model of the recipe, located: which weights, and how it wants to be asked. No engine is started for this."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from openthoughts_dagster.generation.engine import EngineError
from openthoughts_dagster.generation.requests import Message, ModelIdentity
from openthoughts_dagster.lake import folder_hash
from openthoughts_dagster.recipe import ModelReference


@dataclass(frozen=True)
class Model:
    """A model reference whose weights are known: `address` is what a loader takes, a folder or a hub id."""

    reference: ModelReference
    address: str
    identity: ModelIdentity

    def render(self, messages: Sequence[Message]) -> str:
        """The prompt as the model reads it: its chat template, or the messages as JSON for a server's model."""
        if self.reference.engine == "openai":
            return json.dumps(list(messages), ensure_ascii=False)
        tokenizer = load_tokenizer(self.address, self.reference.revision, self.identity.revision)
        return str(tokenizer.apply_chat_template(list(messages), tokenize=False, add_generation_prompt=True))


def locate(reference: ModelReference, folder: Path) -> Model:
    """Find the weights of `reference`; relative paths such as ./models/mine start at `folder`.

    Raises EngineError when a checkpoint folder is missing or incomplete, or when the hub does not know the model.
    """
    if reference.engine == "openai":
        return Model(reference, reference.model, ModelIdentity(reference.model, reference.revision or "served"))
    if reference.model.startswith(("/", "./", "../", "~")):
        path = (folder / Path(reference.model).expanduser()).resolve()
        missing = [name for name in ("config.json", "tokenizer_config.json") if not (path / name).is_file()]
        if missing:
            state = f"lacks {' and '.join(missing)}" if path.is_dir() else "does not exist"
            raise EngineError(
                f"{reference.name}: the model folder {path} {state}. A model is a Hugging Face checkpoint folder or "
                "the id of a model on the hub: correct `model` in the recipe, or materialize the asset that makes it."
            )
        return Model(reference, str(path), ModelIdentity(str(path), _folder_revision(str(path)), local=True))
    return Model(reference, reference.model, ModelIdentity(reference.model, _hub_revision(reference)))


def _folder_revision(path: str) -> str:
    stats = tuple((str(p), p.stat().st_size, p.stat().st_mtime_ns) for p in sorted(Path(path).rglob("*")))
    return _hashed_folder(path, stats)


@lru_cache(maxsize=64)
def _hashed_folder(path: str, _stats: tuple[tuple[str, int, int], ...]) -> str:
    """Reading a checkpoint of many gigabytes takes seconds; it is done once while no file of it changes."""
    return folder_hash(Path(path), ignore=("training.json", "checkpoint-*"))


@lru_cache(maxsize=64)
def _hub_revision(reference: ModelReference) -> str:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    try:
        snapshot = snapshot_download(reference.model, revision=reference.revision, allow_patterns=["config.json"])
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError, ValueError) as error:
        raise EngineError(
            f"{reference.name}: the model {reference.model!r} (revision {reference.revision or 'newest'}) could not be "
            f"found on the Hugging Face hub: {type(error).__name__}: {str(error).splitlines()[0]}. Check the name, the "
            "network, and HF_TOKEN for gated models; a checkpoint folder starts with / or ./"
        ) from error
    return Path(snapshot).name


@lru_cache(maxsize=16)
def load_tokenizer(address: str, revision: str | None, _identity: str) -> Any:
    """The model's own tokenizer. `_identity` makes a changed folder a new entry of the cache."""
    from transformers import AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(address, revision=revision)
    except (OSError, ValueError) as error:
        raise EngineError(f"the tokenizer of {address} could not be loaded: {error}") from error
    if not tokenizer.chat_template:
        raise EngineError(
            f"{address} has no chat template: use the instruction-tuned model, or add chat_template.jinja"
        )
    return tokenizer
