"""A landed source's `source.yaml`: the block that a recipe would have, from people whom nobody reviewed."""

import re
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any

import yaml
from pydantic import TypeAdapter, ValidationError

from openthoughts_dagster.recipe import FilesSource, HuggingFaceSource, ProceduralSource, Source, TableSource
from openthoughts_dagster.recipe.fields import SLUG

MANIFEST = "source.yaml"
MOST_BYTES = 64 * 1024

_DEEPEST = 10
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
    try:
        source = _SOURCE.validate_python(document)
    except ValidationError as error:
        raise ManifestError("; ".join(_line(problem) for problem in error.errors())) from error
    return _confined(source, address)


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
    if isinstance(source, TableSource) and source.rewrite is not None:
        raise ManifestError("rewrite: asks a judge and reads a prompt file: name the source in the recipe for that")
    if isinstance(source, FilesSource):
        parts = PurePosixPath(source.path).parts
        if not parts or "://" in source.path or source.path[0] in "/~\\" or ".." in parts or ":" in parts[0]:
            raise ManifestError(f"path: must be a file or glob in the source's own folder, got {source.path!r}")
        return source.model_copy(update={"path": f"{address}/{source.path}"})
    if isinstance(source, HuggingFaceSource):
        for dataset in (source.dataset, *(part.dataset for part in source.more)):
            if not _HUB_ID.fullmatch(dataset):
                raise ManifestError(f"dataset: must be a dataset's id on the hub, as org/name, got {dataset!r}")
    if isinstance(source, HuggingFaceSource | ProceduralSource):
        return source
    raise ManifestError(
        f"reader: {source.reader!r} is for sources in a recipe; files, hugging_face and procedural land"
    )


def _line(problem: Mapping[str, Any]) -> str:
    where = ".".join(str(part) for part in problem["loc"] if part not in ("files", "hugging_face", "procedural"))
    return f"{where or 'reader'}: {problem['msg'].removeprefix('Value error, ')}"
