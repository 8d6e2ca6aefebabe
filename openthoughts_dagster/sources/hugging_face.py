"""Datasets of the Hugging Face hub, and local folders of the same shape."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from openthoughts_dagster.recipe import HuggingFaceSource
from openthoughts_dagster.sources.normalize import Row, SourceError
from openthoughts_dagster.sources.sampling import sample_positions


def read_hugging_face(source: HuggingFaceSource, resolve: Callable[[str], str], seed: str) -> Iterator[Row]:
    """The rows of one split in its order, or a sample of `source.limit` of them.

    Raises SourceError when the split cannot be loaded, naming what there is.
    """
    try:
        from datasets import get_dataset_split_names, load_dataset
        from datasets.utils.logging import disable_progress_bar
    except ImportError as error:
        raise SourceError(
            f"sources.{source.name}: reading datasets needs the `models` extra: pip install 'openthoughts-dagster"
            f"[models]' ({error})"
        ) from error

    disable_progress_bar()
    folder = Path(resolve(source.dataset))
    address = str(folder) if folder.is_dir() else source.dataset
    where = f"sources.{source.name}: dataset {address!r}"
    try:
        splits = get_dataset_split_names(address, source.subset, revision=source.revision)
    except Exception as error:  # hub, network and builder errors have no common class
        raise SourceError(
            f"{where} cannot be loaded: {_first_line(error)}. Check the name, the network, `subset` and `revision`; "
            "gated datasets need HF_TOKEN; a local folder must exist"
        ) from error
    if source.split not in splits:
        raise SourceError(f"{where} has no split {source.split!r}; its splits are {', '.join(splits)}. Set `split`")
    try:
        rows = load_dataset(address, source.subset, split=source.split, revision=source.revision)
    except Exception as error:
        raise SourceError(f"{where} cannot be read: {_first_line(error)}") from error
    origin = {
        "dataset": source.dataset,
        "subset": source.subset,
        "split": source.split,
        "revision": source.revision or _revision_read(rows),
    }
    known = {name: value for name, value in origin.items() if value is not None}
    positions = range(len(rows)) if source.limit is None else sample_positions(len(rows), source.limit, seed)
    for position, row in zip(positions, rows.select(positions), strict=True):
        yield Row(row, known | {"row": position})


def _revision_read(rows: Any) -> str | None:
    """The commit of the hub that the newest revision was, from the addresses of the files; None for a folder."""
    for address in rows.info.download_checksums or ():
        if found := re.search(r"@([0-9a-f]{40})/", str(address)):
            return found[1]
    return None


def _first_line(error: Exception) -> str:
    return f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}"
