"""The manifest `source.yaml` of a landed source. It has the settings of a recipe's source, but nobody reviewed it."""

import math
import re
from collections.abc import Collection, Mapping
from pathlib import PurePosixPath
from typing import Any, get_args

import yaml
from pydantic import TypeAdapter, ValidationError

from openthoughts_dagster.landing.escaping import escape_control
from openthoughts_dagster.recipe import Source
from openthoughts_dagster.recipe.fields import SLUG
from openthoughts_dagster.recipe.suggestions import did_you_mean

MOST_BYTES = 64 * 1024

_DEEPEST = 10
_LONGEST_PATTERN = 1000  # characters of a regular expression
_LONGEST_MESSAGE = 1000  # characters of a problem, which may repeat a part of the manifest
_MOST_PROCEDURAL = 1_000_000  # questions of a procedural source
_LARGEST_OPTION = 10_000  # number in the options of a procedural family
_SOURCE: TypeAdapter[Source] = TypeAdapter(Source)
_HUB_ID = re.compile(r"[\w-][\w.-]*(/[\w-][\w.-]*)?")
_HUB_NAME = re.compile(r"\w[\w.+-]*")


class ManifestError(ValueError):
    """A manifest cannot be used. The message says what is wrong and what to write instead."""

    def __init__(self, message: str) -> None:
        super().__init__(escape_control(message)[:_LONGEST_MESSAGE])


def read_manifest(name: str, text: bytes, address: str, domains: Collection[str] = ()) -> Source:
    """Read the manifest of a landed source.

    A manifest is only data: no variable is replaced in it, and the source that it describes reads nothing but its own
    folder or the hub.

    Args:
        name: The name of the folder, which becomes the name of the source.
        text: The bytes of the manifest.
        address: The source's own folder. Paths of the manifest become addresses below it.
        domains: The domains that the recipe knows; a domain that looks like a misspelling of one of them is refused.

    Returns:
        The source, confined to its folder.

    Raises:
        ManifestError: The manifest cannot be used. Its message is escaped for a terminal.
    """
    if not re.fullmatch(SLUG, name):
        raise ManifestError(
            "the folder's name becomes a partition key: use only letters, digits, '-' and '_', and start with a letter "
            "or digit"
        )
    document = _parse_document(text)
    stated = document.setdefault("name", name)
    if stated != name:
        raise ManifestError(f"name: must be the folder's, {name!r}, or be left out, got {stated!r}")
    if reserved := [str(setting) for setting in document if _is_reserved(str(setting))]:
        raise ManifestError(
            f"{', '.join(reserved)}: this may be set only in a recipe, since recipes are reviewed; remove it"
        )
    try:
        source = _SOURCE.validate_python(document)
    except ValidationError as error:
        raise ManifestError("; ".join(_describe_problem(problem) for problem in error.errors()[:5])) from error
    _check_domain(source.domain, domains)
    _check_limits(source)
    return _confine(source, address)


def _is_reserved(setting: str) -> bool:
    """Whether only recipes may have this setting. One that no reader has is a mistake, which pydantic reports."""
    readers = get_args(get_args(Source)[0])
    known = any(setting in reader.model_fields for reader in readers)
    return known and not any(setting in reader.landed_settings for reader in readers)


def _parse_document(text: bytes) -> dict[str, Any]:
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
    except (yaml.YAMLError, UnicodeDecodeError, ValueError, OverflowError, RecursionError) as error:
        if isinstance(error, ManifestError):
            raise
        raise ManifestError(f"is not YAML that can be read: {' '.join(str(error).split())[:300]}") from error
    if not isinstance(document, dict):
        raise ManifestError("is a mapping of settings, as a source of a recipe: reader, domain, path, columns")
    _check_plain(document, "")
    return document


def _check_plain(value: Any, where: str) -> None:
    """Refuse values that JSON does not have, so that every value can be stored and shown. Raises ManifestError."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            if not isinstance(key, str):
                raise ManifestError(f"{where or 'the manifest'}: names of settings are text, got a {_kind(key)}")
            _check_plain(key, where)
            _check_plain(inner, f"{where}.{key}".lstrip("."))
    elif isinstance(value, list):
        for inner in value:
            _check_plain(inner, where)
    elif isinstance(value, str):
        if any("\ud800" <= char <= "\udfff" for char in value):
            raise ManifestError(f"{where}: is not Unicode, it has half of a surrogate pair: {value[:100]!a}")
    elif isinstance(value, int) and not isinstance(value, bool) and abs(value) >= 2**63:
        raise ManifestError(f"{where}: a whole number of more than 63 bits; write a smaller one")
    elif isinstance(value, float) and not math.isfinite(value):
        raise ManifestError(f"{where}: must be a finite number")
    elif value is not None and not isinstance(value, bool | int | float):
        raise ManifestError(f"{where}: must be text, a number, true or false, got a {_kind(value)}; put it in quotes")


def _kind(value: Any) -> str:
    return type(value).__name__


def _check_domain(domain: str, known: Collection[str]) -> None:
    if domain in known:
        return
    if hint := did_you_mean(domain.lower(), known):
        raise ManifestError(
            f"domain: {domain!r} is none of the recipe's domains ({', '.join(sorted(known))}); {hint} "
            "A new domain needs a name that is less like these"
        )


def _check_limits(source: Source) -> None:
    """Refuse settings that would cost too much time or memory. Raises ManifestError."""
    columns = getattr(source, "columns", None)
    patterns = [condition.matches for condition in getattr(source, "where", ())]
    for pattern in [*patterns, columns.part if columns else None]:
        if pattern is not None and len(pattern) > _LONGEST_PATTERN:
            raise ManifestError(f"a regular expression of more than {_LONGEST_PATTERN} characters: write a shorter one")
    if getattr(source, "size", 0) > _MOST_PROCEDURAL:
        raise ManifestError(f"size: must be at most {_MOST_PROCEDURAL:,} in a landed source")
    if (large := _largest_number(getattr(source, "options", {}))) > _LARGEST_OPTION:
        raise ManifestError(f"options: numbers must be at most {_LARGEST_OPTION:,} in a landed source, got {large:g}")
    for setting in ("subset", "split", "revision"):
        value = getattr(source, setting, None)
        for entry in value if isinstance(value, list) else [value]:
            if entry is not None and (not _HUB_NAME.fullmatch(entry) or ".." in entry):
                raise ManifestError(
                    f"{setting}: must be a name of letters, digits, '.', '_', '+' and '-', got {entry!r}"
                )


def _largest_number(value: Any) -> float:
    if isinstance(value, Mapping):
        return max(map(_largest_number, value.values()), default=0.0)
    if isinstance(value, list):
        return max(float(len(value)), *map(_largest_number, value)) if value else 0.0
    return abs(float(value)) if isinstance(value, int | float) else 0.0


def _confine(source: Source, address: str) -> Source:
    """Confine the source to its own folder and make its path absolute. Raises ManifestError when it would leave it."""
    path, dataset = getattr(source, "path", None), getattr(source, "dataset", None)
    if dataset is not None and not _HUB_ID.fullmatch(str(dataset)):
        raise ManifestError(f"dataset: must be a dataset's id on the hub, as org/name, got {dataset!r}")
    confined = source.model_copy(update={"confined_to": address})
    if path is None:
        return confined
    parts = PurePosixPath(path).parts
    if not parts or "://" in path or path[0] in "/~\\" or ".." in parts or ":" in path or "\0" in path:
        raise ManifestError(f"path: must be a file or glob in the source's own folder, got {path!r}")
    return confined.model_copy(update={"path": f"{address}/{path}"})


def _describe_problem(problem: Mapping[str, Any]) -> str:
    where = ".".join(str(part) for part in problem["loc"][1:])  # the first part is the reader that pydantic chose
    return f"{where or 'reader'}: {problem['msg'].removeprefix('Value error, ')}"
