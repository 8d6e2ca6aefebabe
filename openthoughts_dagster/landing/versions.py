"""The state of a recipe's source: its settings, and its files or its commit on the hub."""

import glob
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

from openthoughts_dagster.lake import text_hash, value_hash
from openthoughts_dagster.landing.landed_files import Files, signature
from openthoughts_dagster.landing.local_files import file_content, stamp_of
from openthoughts_dagster.landing.object_store_zone import list_objects
from openthoughts_dagster.recipe import HuggingFaceSource, ProceduralSource, Source


def settings_of(source: Source) -> str:
    """Hash the settings of a source that decide what is read."""
    # Defaults are left out, so that a setting which a later version adds changes no source that does not use it.
    settings = value_hash(source.model_dump(exclude={"note", "paper", "confined_to"}, exclude_defaults=True))
    return text_hash(settings, version("reasoning-gym")) if isinstance(source, ProceduralSource) else settings


SETTINGS_TAG = "openthoughts/settings"  # a tag of each materialization of raw_sources: the hash of its settings


def files_of(source: Source, resolve: Callable[[str], str]) -> Files:
    """List the files that a source reads.

    Args:
        source: A source of a recipe.
        resolve: Makes a path of the recipe absolute.

    Returns:
        The state of each file by its absolute path or address; empty when the reader reads no files.

    Raises:
        LandingError: The store of an address does not answer.
    """
    path = getattr(source, "path", None)
    if path is None:
        return {}
    if "://" in (path := resolve(path)):
        return list_objects(path)
    names = [path] if Path(path).is_file() else sorted(glob.glob(path, recursive=True))  # noqa: PTH207 - absolute
    return {name: stamp_of(Path(name)) for name in names if Path(name).is_file()}


def signature_of(source: Source, files: Files, commit: str) -> str:
    """Identify the state of a source without reading its files."""
    return text_hash(settings_of(source), signature(files), commit)


def content_of(source: Source, files: Files, commit: str) -> str:
    """Identify the content of a source: equal values mean equal settings and equal bytes."""
    contents = (stamp.token if "://" in name else file_content(name, stamp) for name, stamp in sorted(files.items()))
    return text_hash(settings_of(source), commit, *contents)


def moves(source: Source) -> bool:
    """Whether the commit that a source reads from the hub can change, since it names no commit."""
    return isinstance(source, HuggingFaceSource) and not _is_commit(source.revision or "")


def hub_commit(source: HuggingFaceSource) -> str:
    """Ask the Hugging Face hub which commit would be read now. Raises whatever the hub's client raises."""
    from huggingface_hub import HfApi

    return HfApi().dataset_info(source.dataset, revision=source.revision, timeout=10).sha or ""


def _is_commit(revision: str) -> bool:
    return len(revision) == 40 and all(digit in "0123456789abcdef" for digit in revision)
