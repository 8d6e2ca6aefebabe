"""A landed source's `source.yaml`: the block that a recipe would have, from people whom nobody reviewed."""

import re
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any, get_args

import yaml
from pydantic import TypeAdapter, ValidationError

from openthoughts_dagster.recipe import Source
from openthoughts_dagster.recipe.fields import SLUG

MANIFEST = "source.yaml"
MOST_BYTES = 64 * 1024

_DEEPEST = 10
# What a landed source may say. Other settings of a recipe's source name prompts, judges or further places.
_SETTINGS = {
    *("name", "domain", "licence", "limit", "note", "reader", "path", "records", "columns", "where", "verbatim"),
    *("dataset", "subset", "split", "revision", "family", "size", "seed", "options"),
}
_SOURCE: TypeAdapter[Source] = TypeAdapter(Source)
_HUB_ID = re.compile(r"[\w-][\w.-]*(/[\w-][\w.-]*)?")


class ManifestError(ValueError):
    """A manifest that cannot be used: what is wrong, and what to write instead."""


def read_manifest(name: str, text: bytes, address: str) -> Source:
    """The source that a manifest describes; its paths become addresses below `address`, the source's own folder.

    It is only data: no variable is replaced in it, and what it reads is in its own folder or on the hub. Raises
    ManifestError.
    """
    if not re.fullmatch(SLUG, name):
        raise ManifestError(
            "the folder's name becomes a partition key: use only letters, digits, '-' and '_', and start with a letter "
            "or digit"
        )
    document = _document(text)
    said = document.setdefault("name", name)
    if said != name:
        raise ManifestError(f"name: must be the folder's, {name!r}, or be left out, got {said!r}")
    if reserved := [str(setting) for setting in document if setting not in _SETTINGS and _known(str(setting))]:
        raise ManifestError(f"{', '.join(reserved)}: only a recipe may say this, since it is reviewed")
    try:
        source = _SOURCE.validate_python(document)
    except ValidationError as error:
        raise ManifestError("; ".join(_line(problem) for problem in error.errors())) from error
    return _confined(source, address)


def _known(setting: str) -> bool:
    """Whether some reader has this setting: otherwise it is a mistake, which is said in other words."""
    readers = get_args(get_args(Source)[0])
    return any(setting in reader.model_fields for reader in readers)


def _document(text: bytes) -> dict[str, Any]:
    if len(text) > MOST_BYTES:
        raise ManifestError(
            f"is larger than {MOST_BYTES // 1024} KiB: it holds settings, data goes into files beside it"
        )
    depth = 0
    try:
        for event in yaml.parse(text, yaml.SafeLoader):
            if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
                raise ManifestError("has YAML anchors or aliases, which can grow without limit: write the values out")
            depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
            if depth > _DEEPEST:
                raise ManifestError(f"is nested deeper than {_DEEPEST} levels")
        document = yaml.load(text, yaml.SafeLoader)
    except (yaml.YAMLError, UnicodeDecodeError, ValueError, RecursionError) as error:
        if isinstance(error, ManifestError):
            raise
        raise ManifestError(f"is not YAML that can be read: {' '.join(str(error).split())[:300]}") from error
    if not isinstance(document, dict):
        raise ManifestError("is a mapping of settings, as a source of a recipe: reader, domain, path, columns")
    return document


def _confined(source: Source, address: str) -> Source:
    """The source with absolute paths. Raises ManifestError for what reads elsewhere."""
    path, dataset = getattr(source, "path", None), getattr(source, "dataset", None)
    if dataset is not None and not _HUB_ID.fullmatch(str(dataset)):
        raise ManifestError(f"dataset: must be a dataset's id on the hub, as org/name, got {dataset!r}")
    if path is None:
        return source
    parts = PurePosixPath(path).parts
    if not parts or "://" in path or path[0] in "/~\\" or ".." in parts or ":" in parts[0]:
        raise ManifestError(f"path: must be a file or glob in the source's own folder, got {path!r}")
    return source.model_copy(update={"path": f"{address}/{path}"})


def _line(problem: Mapping[str, Any]) -> str:
    where = ".".join(str(part) for part in problem["loc"][1:])  # pydantic says first which reader it took
    return f"{where or 'reader'}: {problem['msg'].removeprefix('Value error, ')}"
