"""In which state a recipe's source is: its settings, and its files or its commit on the hub."""

import glob
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

from openthoughts_dagster.lake import text_hash, value_hash
from openthoughts_dagster.landing.zone import Files, file_content, objects, signature, stamp_of
from openthoughts_dagster.recipe import HuggingFaceSource, ProceduralSource, Source


def settings_of(source: Source) -> str:
    """Hash of what the recipe says about how to read it."""
    # without defaults: a setting that a later version adds changes no source that does not use it
    settings = value_hash(source.model_dump(exclude={"note", "paper", "confined_to"}, exclude_defaults=True))
    return text_hash(settings, version("reasoning-gym")) if isinstance(source, ProceduralSource) else settings


SETTINGS_TAG = "openthoughts/settings"  # on each materialization of raw_sources: the settings that it was read with


def files_of(source: Source, resolve: Callable[[str], str]) -> Files:
    """The files that a source reads, by absolute path or address; none for readers without.

    Raises LandingError when the store of an address does not answer.
    """
    path = getattr(source, "path", None)
    if path is None:
        return {}
    if "://" in (path := resolve(path)):
        return objects(path)
    names = [path] if Path(path).is_file() else sorted(glob.glob(path, recursive=True))  # noqa: PTH207 - absolute
    return {name: stamp_of(Path(name)) for name in names if Path(name).is_file()}


def signature_of(source: Source, files: Files, commit: str) -> str:
    """The state of a source without reading it."""
    return text_hash(settings_of(source), signature(files), commit)


def content_of(source: Source, files: Files, commit: str) -> str:
    """What identifies the content of a source: equal when its settings and the bytes it reads are."""
    contents = (stamp.token if "://" in name else file_content(name, stamp) for name, stamp in sorted(files.items()))
    return text_hash(settings_of(source), commit, *contents)


def moves(source: Source) -> bool:
    """Whether its commit on the hub can change: it names none, or a branch."""
    return isinstance(source, HuggingFaceSource) and not _is_commit(source.revision or "")


def hub_commit(source: HuggingFaceSource) -> str:
    """The commit on the Hugging Face hub that would be read now. Raises what the hub's client raises."""
    from huggingface_hub import HfApi

    return HfApi().dataset_info(source.dataset, revision=source.revision, timeout=10).sha or ""


def _is_commit(revision: str) -> bool:
    return len(revision) == 40 and all(digit in "0123456789abcdef" for digit in revision)
