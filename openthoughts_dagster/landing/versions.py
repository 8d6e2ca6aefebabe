"""The state of a recipe's source: its settings, and its files or its commit on the hub."""

import glob
import os
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

from openthoughts_dagster.lake import text_hash, value_hash
from openthoughts_dagster.landing.content_hashes import ContentHashes
from openthoughts_dagster.landing.landed_files import Files, Stamp, make_stamp, signature
from openthoughts_dagster.landing.object_store_zone import list_objects
from openthoughts_dagster.recipe import HuggingFaceSource, ProceduralSource, Source
from openthoughts_dagster.recipe.lock import HubReference, Locked, is_commit, parts_of


def settings_of(source: Source) -> str:
    """Hash the settings of a source that decide what is read."""
    settings = value_hash(definition_of(source))
    return text_hash(settings, version("reasoning-gym")) if isinstance(source, ProceduralSource) else settings


def definition_of(source: Source) -> dict[str, Any]:
    """Return the settings of a source that decide what is read.

    Defaults are left out, so that a setting which a later version adds changes no source that does not use it.
    """
    return source.model_dump(exclude={"note", "paper", "confined_to"}, exclude_defaults=True)


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
    return {name: make_stamp(Path(name).stat(), link=False) for name in names if Path(name).is_file()}  # follows links


def signature_of(source: Source, files: Files, commit: str) -> str:
    """Identify the state of a source without reading its files."""
    return text_hash(settings_of(source), signature(files), commit)


def content_of(source: Source, files: Files, hashes: ContentHashes) -> str:
    """Identify the content of a source: equal values mean equal settings and equal bytes.

    Raises ContentNotKnown when a file is hashed only at a later look.
    """

    def content(name: str, stamp: Stamp) -> str:
        return (
            stamp.token if "://" in name else hashes.hash_file(source.name, name, stamp, lambda: Path(name).open("rb"))
        )

    return text_hash(settings_of(source), "", *(content(name, stamp) for name, stamp in sorted(files.items())))


def moves(source: Source) -> bool:
    """Whether a commit that a source reads from the hub can change, since a part of it names no commit."""
    return isinstance(source, HuggingFaceSource) and not all(is_commit(part.revision) for part in parts_of(source))


def hub_commit(source: HuggingFaceSource, locked: Locked = lambda *_: None, offline: bool = False) -> str:
    """Find the commits that would be read now, of all data sets of a source.

    Args:
        source: The source.
        locked: Returns the commit of the recipe's lock file for a data set, for which the hub is not asked.
        offline: Whether the hub must not be asked.

    Returns:
        The commits in order, joined by "+"; empty when one of them is not known offline.

    Raises:
        Exception: Whatever the hub's client raises.
    """
    commits = [
        part.revision if is_commit(part.revision) else locked(part.dataset, part.revision) for part in parts_of(source)
    ]
    if offline and None in commits:
        return ""
    asked = (
        commit or newest_commit(HubReference("dataset", part.dataset, part.revision))
        for commit, part in zip(commits, parts_of(source), strict=True)
    )
    return "+".join(asked)


def newest_commit(reference: HubReference) -> str:
    """Ask the hub for the commit that a branch or tag is now. Raises whatever the hub's client raises."""
    from huggingface_hub import HfApi

    api = HfApi(endpoint=os.environ.get("HF_ENDPOINT") or None)
    found = api.repo_info(reference.id, repo_type=reference.kind, revision=reference.revision, timeout=10)
    return found.sha or ""
