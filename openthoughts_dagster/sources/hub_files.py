"""The data files of a hub dataset: checks that they belong to it, and reading their values as they were written.

The README of a dataset can name `data_files` anywhere, such as files of this machine or addresses in its network, and
the library `datasets` opens them. It also guesses types: "2024-01-05" becomes a time, and 42 beside 0.5 becomes 42.0.
"""

from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

from openthoughts_dagster.recipe import Columns, FilesSource
from openthoughts_dagster.sources.columns import text_columns
from openthoughts_dagster.sources.contract import Row, SourceError
from openthoughts_dagster.sources.copies import Copy
from openthoughts_dagster.sources.formats import json_lines_rows, json_rows
from openthoughts_dagster.sources.opening import File, reading
from openthoughts_dagster.storage import open_file_system

_CONFIGURED = ("README.md", ".huggingface.yaml")
_BUILDERS = ("json", "csv", "parquet", "arrow", "text", "webdataset", "imagefolder", "audiofolder")
_PLACES = ("data_files", "data_dir")
_LARGEST_README = 8 * 2**20
_JSON = {"jsonl": json_lines_rows, "ndjson": json_lines_rows, "json": json_rows}
_EXACT = (
    "string",
    "large_string",
    "bool",
    "null",
    *(f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)),
)


def check_readme(copy: Copy, dataset: str, where: str) -> None:
    """Check that the settings of a dataset name only its own files, before any file is read.

    Raises:
        SourceError: The settings name files outside of the dataset, or are no YAML.
    """
    import yaml

    for name in _CONFIGURED:
        text = _read_dataset_file(copy, dataset, name)
        if name.endswith(".md"):
            parts = text.split("---", 2) if text.startswith("---") else []
            text = parts[1] if len(parts) == 3 else ""
        try:
            settings = yaml.load(text, yaml.SafeLoader) if text else None
        except (yaml.YAMLError, ValueError, RecursionError) as error:
            raise SourceError(f"{where}: its {name} has settings that are no YAML: {str(error)[:200]}") from error
        configs = settings.get("configs") if isinstance(settings, dict) else None
        for address in _find_file_names(
            [c for c in configs if isinstance(c, dict)] if isinstance(configs, list) else []
        ):
            if _is_outside(address):
                raise SourceError(
                    f"{where}: its {name} names data_files outside of the dataset, {address[:200]!r}, which are not "
                    "read. Take the dataset from its original author, or name its files with the reader `files`"
                )


def check_data_files(builder: Any, copy: Copy, where: str) -> None:
    """Check that all files which would be read are in the dataset's own folder or commit.

    Raises:
        SourceError: A file is elsewhere, or the files are of a kind that is not read.
    """
    if builder.name not in _BUILDERS:
        raise SourceError(
            f"{where}: its files are of the kind {builder.name!r}, which is not read; kinds that are read: "
            f"{', '.join(_BUILDERS)}"
        )
    files = builder.config.data_files or {}
    for address in (str(file) for split in files.values() for file in split):
        if not (_is_in_folder(address, Path(copy.address)) if copy.is_folder else _is_in_commit(address, copy)):
            raise SourceError(
                f"{where}: {address[:200]!r} is not in the dataset's own folder or commit, and is not read"
            )


def csv_settings(names: list[str], texts: list[str]) -> dict[str, Any]:
    """Return settings for pandas, so that it reads the columns `texts` of a CSV file as text and others as usual."""
    from pandas._libs.parsers import STR_NA_VALUES

    absent = sorted(STR_NA_VALUES)
    converters = {name: str for name in texts if name in names}
    missing = {name: [] if name in converters else absent for name in names}
    return {"converters": converters, "na_values": missing, "keep_default_na": False} if converters else {}


def raw_json_files(builder: Any, rows: Any, split: str, columns: Columns) -> list[File]:
    """List the JSON files of a split, when `datasets` would change the values of the question or the answer.

    Returns:
        A file for each shard, in order. The list is empty when `datasets` keeps the values, or when its shards are not
        the files.
    """
    if builder is None or builder.name != "json" or getattr(builder.config, "field", None) or not rows.features:
        return []
    read = {field.partition(".")[0] for field in text_columns(columns)} & set(rows.features)
    if all(_keeps_values(rows.features[name]) for name in read):
        return []
    addresses = [str(address) for address in builder.config.data_files[split]]
    files = [File(PurePosixPath(address).name, "", *open_file_system(address)) for address in addresses]
    return files if len(files) == rows.num_shards and all(file.format in _JSON for file in files) else []


def raw_rows(source: str, file: File, columns: list[str]) -> Iterator[Row]:
    """Read the rows of a JSON file as they were written. Columns of the dataset that a row lacks are null."""
    settings = FilesSource(name=source, domain="any", reader="files", path=file.address)
    with reading(f"sources.{source}", file):
        for row in _JSON[file.format](settings, file):
            yield row if row.problem else Row(dict.fromkeys(columns) | dict(row.values), row.origin)


def _read_dataset_file(copy: Copy, dataset: str, name: str) -> str:
    """Read a small text file at the top of a dataset. Returns an empty text when there is none."""
    if copy.is_folder:
        path = Path(copy.address) / name
    else:
        from huggingface_hub import hf_hub_download
        from huggingface_hub.errors import EntryNotFoundError

        try:
            path = Path(hf_hub_download(dataset, name, repo_type="dataset", revision=copy.commit))
        except EntryNotFoundError:
            return ""
    if not path.is_file():
        return ""
    with path.open("rb") as file:
        return file.read(_LARGEST_README).decode("utf-8", "replace")


def _find_file_names(value: Any, place: bool = False) -> Iterator[str]:
    """Find the texts that say where files are. Lists that contain themselves, which YAML allows, are visited once."""
    waiting, seen = [(value, place)], set[int]()
    while waiting:
        at, inside = waiting.pop()
        if isinstance(at, str):
            if inside:
                yield at
        elif isinstance(at, dict | list) and id(at) not in seen:
            seen.add(id(at))
            entries = at.items() if isinstance(at, dict) else ((None, entry) for entry in at)
            waiting += [(entry, inside or name in _PLACES) for name, entry in entries]


def _is_outside(address: str) -> bool:
    return (
        "://" in address or "::" in address or address[:1] in ("/", "~", "\\") or ".." in PurePosixPath(address).parts
    )


def _is_in_folder(address: str, folder: Path) -> bool:
    """Whether a file, after following links, lies in a folder. In the hub's cache, its store of files counts too."""
    real, root = Path(address).resolve(), folder.resolve()
    return real.is_relative_to(root) or (
        root.parent.name == "snapshots" and real.is_relative_to(root.parent.parent / "blobs")
    )


def _is_in_commit(address: str, copy: Copy) -> bool:
    return address.startswith(f"hf://datasets/{copy.address}@{copy.commit}/") and ".." not in address.split("/")


def _keeps_values(feature: Any) -> bool:
    """Whether `datasets` keeps values of this type as the JSON has them. It may change decimal numbers and dates."""
    if isinstance(feature, dict):
        return all(map(_keeps_values, feature.values()))
    if isinstance(feature, list):
        return all(map(_keeps_values, feature))
    inner = getattr(feature, "feature", None)
    return _keeps_values(inner) if inner is not None else getattr(feature, "dtype", "") in _EXACT
