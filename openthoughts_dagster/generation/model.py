"""Locates the weights of a model of the recipe, and renders prompts by its chat template. Starts no engine."""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from openthoughts_dagster.generation.engine import EngineError
from openthoughts_dagster.generation.requests import Message, ModelIdentity
from openthoughts_dagster.generation.template_probe import check_chat_template
from openthoughts_dagster.lake import file_digest, folder_hash
from openthoughts_dagster.recipe import ModelReference
from openthoughts_dagster.recipe.engines import PUBLISHED, is_served
from openthoughts_dagster.recipe.lock import split_commit
from openthoughts_dagster.storage import Folders, StorageError

# Reports beside the weights do not count. The trainer's own file names the folder that it wrote to, so the same student
# trained elsewhere would be another model, and its benchmark answers would be paid for again.
_NOT_THE_MODEL = ("training.json", "scores.md", "training_args.bin", "checkpoint-*")
_DATE_CALL = re.compile(r"""strftime_now\s*\(\s*(?:format\s*=\s*)?(["'])(.*?)\1\s*\)""")
_COMMIT = re.compile(r"[0-9a-f]{40}")
_NO_DATE = "the date that the recipe does not set"


@dataclass(frozen=True)
class Model:
    """A model of the recipe whose weights are known.

    Args:
        reference: The model as the recipe has it.
        address: What a loader takes: a folder or the id of a model on the hub.
        identity: The name and the revision of the weights.
        tokenizer_address: Address of the tokenizer of a server's model, if the recipe names one.
    """

    reference: ModelReference
    address: str
    identity: ModelIdentity
    tokenizer_address: str | None = None

    def render(self, messages: Sequence[Message]) -> str:
        """Render a conversation by the model's chat template.

        Args:
            messages: The conversation; each message has a role and a content.

        Returns:
            The prompt as the model reads it, or the messages as JSON if only the server knows the chat template.

        Raises:
            EngineError: The chat template writes today's date, and the recipe does not set `template_date`.
        """
        tokenizer = self.tokenizer()
        if tokenizer is None:
            return json.dumps(list(messages), ensure_ascii=False)
        template = self.pin_date(tokenizer.get_chat_template())
        prompt = str(
            tokenizer.apply_chat_template(
                list(messages), chat_template=template, tokenize=False, add_generation_prompt=True
            )
        )
        if _NO_DATE in prompt:
            raise EngineError(
                f"{self.reference.name}: the chat template of {self.address} writes today's date into every prompt, so "
                "that all completions would be asked and paid for again tomorrow. Set template_date to the date that "
                "it shall write, e.g. template_date: 2026-11-25"
            )
        return prompt

    def pin_date(self, template: str) -> str:
        """Replace today's date in a chat template by the recipe's date, or by a mark if the recipe has none.

        Raises:
            EngineError: The template computes how it writes the date, so that nothing can be put in its place.
        """
        if "strftime_now" not in template:
            return template
        pinned = self.reference.template_date
        dated = _DATE_CALL.sub(lambda call: repr(pinned.strftime(call[2]) if pinned else _NO_DATE), template)
        if re.search(r"strftime_now\s*\(", dated):
            raise EngineError(
                f"{self.reference.name}: the chat template of {self.address} computes how it writes today's date, so "
                "that template_date cannot set it: give the model a chat template of its own"
            )
        return dated

    def tokenizer(self) -> Any:
        """Return the model's tokenizer; None for a server's model whose tokenizer the recipe does not name."""
        if not is_served(self.reference.engine):
            return load_tokenizer(self.address, self.reference.revision, self.identity.revision)
        if self.tokenizer_address is None:
            return None
        folder = self.tokenizer_address.startswith("/")
        version = _folder_revision(self.tokenizer_address) if folder else ""
        address, commit = split_commit(self.tokenizer_address)
        return load_tokenizer(address, commit, version)


def locate(reference: ModelReference, folder: Path, folders: Folders | None = None, weights: bool = True) -> Model:
    """Find the weights of a model.

    Args:
        reference: The model as the recipe has it.
        folder: The folder at which relative paths such as ./models/mine start.
        folders: Fetches models at addresses such as s3://bucket/models/mine; by default into the default cache.
        weights: Whether to fetch the weights of such a model. Keys and prompts do not need them.

    Returns:
        The located model. A model at an address has the same identity as a copy of it in a folder.

    Raises:
        EngineError: The checkpoint folder is missing or incomplete, or the hub does not know the model.

    Example:
        >>> recipe = load_recipe("my-recipe")
        >>> model = locate(recipe.teachers[0], recipe.folder)
    """
    folders = folders or Folders()
    if reference.engine == PUBLISHED:
        return _locate_published(reference, folder, folders, weights)
    if is_served(reference.engine):
        extra = reference.parameters.extra
        asked_with = json.dumps(extra, sort_keys=True) if extra else ""
        identity = ModelIdentity(reference.model, reference.revision or "served", asked_with=asked_with)
        tokenizer = reference.tokenizer
        if tokenizer is not None and "://" in tokenizer:
            tokenizer = str(
                _fetch_folder(reference.name, "tokenizer", folders, tokenizer, ["tokenizer_config.json"])[0]
            )
        elif tokenizer is not None and _is_folder(tokenizer):
            tokenizer = str(_check_folder(reference.name, "tokenizer", folder, tokenizer, ["tokenizer_config.json"]))
        return Model(reference, reference.model, identity, tokenizer)
    needed = ["config.json", "tokenizer_config.json"]
    if "://" in reference.model:
        path, revision = _fetch_folder(reference.name, "model", folders, reference.model, needed, weights)
        return Model(reference, str(path), ModelIdentity(reference.model, revision, local=True))
    if _is_folder(reference.model):
        path = _check_folder(reference.name, "model", folder, reference.model, needed)
        return Model(reference, str(path), ModelIdentity(str(path), _folder_revision(str(path)), local=True))
    if Path(reference.model).is_dir():  # the libraries that load models would take it without a word
        raise EngineError(
            f"{reference.name}: there is a folder {reference.model} in the present directory, which would be read in "
            f"place of the hub's model of this id: start this process in another directory, or write "
            f"./{reference.model} if you mean the folder"
        )
    return Model(reference, reference.model, ModelIdentity(reference.model, _revision_of(reference)))


def _locate_published(reference: ModelReference, base: Path, folders: Folders, weights: bool) -> Model:
    """Find a data set of published answers: a folder or a file, a folder in a store, or a data set of the hub."""
    columns = reference.published.model_dump(exclude_defaults=True)
    asked_with = json.dumps(columns, sort_keys=True) if columns else ""
    if "://" in reference.model:
        found, revision = _fetch_folder(reference.name, "data set", folders, reference.model, [], weights)
        identity = ModelIdentity(reference.model, revision, local=True, asked_with=asked_with)
        return Model(reference, str(found), identity)
    if _is_folder(reference.model):
        path = (base / Path(reference.model).expanduser()).resolve()
        if not path.exists():
            raise EngineError(
                f"{reference.name}: there is no {path}: correct the `model` of this teacher, which names the data set "
                "with its answers"
            )
        revision = _folder_revision(str(path)) if path.is_dir() else file_digest(path).hex()
        return Model(reference, str(path), ModelIdentity(str(path), revision, local=True, asked_with=asked_with))
    commit = reference.revision
    if commit is None or not _COMMIT.fullmatch(commit):
        commit = _dataset_commit(reference)
    return Model(reference, reference.model, ModelIdentity(reference.model, commit, asked_with=asked_with))


def _dataset_commit(reference: ModelReference) -> str:
    from huggingface_hub import HfApi

    try:
        return str(HfApi().dataset_info(reference.model, revision=reference.revision).sha)
    except Exception as error:  # errors of the hub and of the network have no common class
        raise EngineError(
            f"{reference.name}: the data set {reference.model!r} could not be found on the Hugging Face hub: "
            f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}. Check the name and the network, pin its "
            "commit as `revision`, or put a copy below OPENTHOUGHTS_DATASETS; a folder starts with / or ./"
        ) from error


def read_config(reference: ModelReference, folder: Path) -> dict[str, Any] | None:
    """Return a model's config.json if it is on this machine, in a folder or in the hub's cache; else None.

    Args:
        reference: The model as the recipe has it.
        folder: The folder at which relative paths such as ./models/mine start.
    """
    if is_served(reference.engine) or "://" in reference.model:
        return None
    if _is_folder(reference.model):
        path = folder / Path(reference.model).expanduser() / "config.json"
    else:
        if find_spec("huggingface_hub") is None:
            return None
        from huggingface_hub import try_to_load_from_cache

        cached = try_to_load_from_cache(reference.model, "config.json", revision=reference.revision)
        path = Path(cached if isinstance(cached, str) else "")
    try:
        content = json.loads(path.read_text())
    except (OSError, ValueError):
        return None
    return content if isinstance(content, dict) else None


def _fetch_folder(
    name: str, setting: str, folders: Folders, address: str, needed: list[str], weights: bool = False
) -> tuple[Path, str]:
    """Return a local copy of the folder at an address, and its revision."""
    try:
        manifest = folders.require_manifest(address)
        if missing := [file for file in needed if file not in manifest.files]:
            raise StorageError(f"{address}: the folder lacks {' and '.join(missing)}: it is no Hugging Face checkpoint")
        return folders.fetch(address, weights, manifest).resolve(), manifest.revision(_NOT_THE_MODEL)
    except StorageError as error:
        raise EngineError(f"{name}: the {setting} cannot be fetched: {error}") from error


def _is_folder(address: str) -> bool:
    return address.startswith(("/", "./", "../", "~"))


def _check_folder(name: str, setting: str, base: Path, address: str, needed: list[str]) -> Path:
    path = (base / Path(address).expanduser()).resolve()
    missing = [file for file in needed if not (path / file).is_file()]
    if missing:
        state = f"lacks {' and '.join(missing)}" if path.is_dir() else "does not exist"
        raise EngineError(
            f"{name}: the {setting} folder {path} {state}. A {setting} is a Hugging Face checkpoint folder or the id "
            f"of a model on the hub: correct `{setting}` in the recipe, or materialize the asset that makes it."
        )
    return path


def _folder_revision(path: str) -> str:
    stats = tuple((str(p), p.stat().st_size, p.stat().st_mtime_ns) for p in sorted(Path(path).rglob("*")))
    return _hashed_folder(path, stats)


@lru_cache(maxsize=64)
def _hashed_folder(path: str, _stats: tuple[tuple[str, int, int], ...]) -> str:
    """Hash a folder once while its files do not change; a checkpoint of many gigabytes takes seconds."""
    return folder_hash(Path(path), ignore=_NOT_THE_MODEL)


def _revision_of(reference: ModelReference) -> str:
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    try:
        return _hub_revision(reference.model, reference.revision)
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError, ValueError) as error:
        raise EngineError(
            f"{reference.name}: the model {reference.model!r} (revision {reference.revision or 'newest'}) could not be "
            f"found on the Hugging Face hub: {type(error).__name__}: {str(error).splitlines()[0]}. Check the name, the "
            "network, and HF_TOKEN for gated models; a checkpoint folder starts with / or ./"
        ) from error


@lru_cache(maxsize=64)  # cached by these two, because other settings of a model may hold lists, which have no hash
def _hub_revision(model: str, revision: str | None) -> str:
    from huggingface_hub import snapshot_download

    return Path(snapshot_download(model, revision=revision, allow_patterns=["config.json"])).name


@lru_cache(maxsize=16)
def load_tokenizer(address: str, revision: str | None, _identity: str) -> Any:
    """Load a model's own tokenizer. `_identity` makes a changed folder a new entry of the cache."""
    from transformers import AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(address, revision=revision)
    except (OSError, ValueError) as error:
        raise EngineError(f"the tokenizer of {address} could not be loaded: {error}") from error
    if not tokenizer.chat_template:
        raise EngineError(
            f"{address} has no chat template: use the instruction-tuned model, or add chat_template.jinja"
        )
    templates = tokenizer.chat_template
    for template in templates.values() if isinstance(templates, dict) else [templates]:
        check_chat_template(template, _file_of_template(address))
    return tokenizer


def _file_of_template(address: str) -> str:
    name = "chat_template.jinja"
    folder = Path(address)
    return f"{address}/{name if not folder.is_dir() or (folder / name).is_file() else 'tokenizer_config.json'}"
