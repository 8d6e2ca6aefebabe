"""Datasets of the Hugging Face hub, streamed: nothing is downloaded as a whole, each data file is a shard."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from openthoughts_dagster.recipe import HubPart, HuggingFaceSource
from openthoughts_dagster.sources.columns import needed_columns
from openthoughts_dagster.sources.contract import Reading, Row, Shard, SourceError
from openthoughts_dagster.sources.copies import Copy, local_copy

# The hub's own conversion of datasets whose loading script `datasets` runs no more: one folder for each subset.
CONVERTED = "refs/convert/parquet"


def read_hugging_face(source: HuggingFaceSource, resolve: Callable[[str], str], copies: Path | None) -> Reading:
    """One shard for each data file of each part and subset of the source.

    A dataset is read from a folder of that name, from its copy below `copies`, or from the hub; there the revision is
    made a commit first, so that all files are of one. Raises SourceError when a split cannot be loaded, naming what
    there is.
    """
    try:
        from datasets.utils.logging import disable_progress_bar
    except ImportError as error:
        raise SourceError(
            f"sources.{source.name}: reading datasets needs the `sources` extra: pip install 'openthoughts-dagster"
            f"[sources]' ({error})"
        ) from error
    disable_progress_bar()
    shards: list[Shard] = []
    first = HubPart(dataset=source.dataset, subset=source.subset, revision=source.revision)
    for part in (first, *source.more):
        where = f"sources.{source.name}: dataset {part.dataset!r}"
        copy = _located(part, where, resolve, copies)
        for subset in part.subset if isinstance(part.subset, list) else [part.subset]:
            shards += _shards(source, part, subset, copy, where)
    return Reading(shards)


def _located(part: HubPart, where: str, resolve: Callable[[str], str], copies: Path | None) -> Copy:
    folders = [Path(resolve(part.dataset)), *([copies / part.dataset] if copies else [])]
    folder = next((folder for folder in folders if folder.is_dir()), None)
    if folder is not None:
        return local_copy(folder, part.dataset, part.revision, where)
    from huggingface_hub import HfApi

    try:
        commit = HfApi().dataset_info(part.dataset, revision=part.revision).sha
    except Exception as error:  # hub and network errors have no common class
        looked = f", and there is no copy at {copies / part.dataset}" if copies else ""
        raise SourceError(
            f"{where} cannot be loaded: {_first_line(error)}{looked}. Check the name, the network and `revision`; "
            "gated datasets need HF_TOKEN; without a network set OPENTHOUGHTS_DATASETS to a folder of copies"
        ) from error
    return Copy(part.dataset, commit, str(commit))


def _shards(source: HuggingFaceSource, part: HubPart, subset: str | None, copy: Copy, where: str) -> list[Shard]:
    split = part.split or source.split
    rows = _loaded(part, subset, split, copy, where)
    columns = part.columns or source.columns
    if rows.column_names is not None and (needed := needed_columns(source, columns, rows.column_names)) is not None:
        rows = rows.select_columns(needed)
    known = {"dataset": part.dataset, "subset": subset, "split": split, "revision": copy.commit}
    origin = {name: value for name, value in known.items() if value is not None}
    count = rows.num_shards

    def opened(index: int) -> Callable[[], Iterator[Row]]:
        def read() -> Iterator[Row]:
            try:
                for number, values in enumerate(rows.shard(num_shards=count, index=index)):
                    yield Row(values, origin | {"shard": index, "row": number}, columns=part.columns)
            except Exception as error:
                raise SourceError(f"{where}, shard {index} of {count}: {_first_line(error)}") from error

        return read

    name = "/".join(str(value) for value in (part.dataset, subset, split) if value)
    return [Shard(f"{name}/{index:05}-of-{count:05}", copy.version, opened(index)) for index in range(count)]


def _loaded(part: HubPart, subset: str | None, split: str, copy: Copy, where: str) -> Any:
    from datasets import load_dataset

    arguments: dict[str, Any] = {"data_dir": subset} if part.revision == CONVERTED else {"name": subset}
    revision = None if copy.is_folder else copy.commit
    try:
        splits = load_dataset(copy.address, revision=revision, streaming=True, **arguments)
    except Exception as error:
        raise SourceError(
            f"{where} cannot be loaded: {_first_line(error)}. Check `subset`; a dataset with a loading script is read "
            f"with `revision: {CONVERTED}`"
        ) from error
    if split not in splits:
        raise SourceError(f"{where} has no split {split!r}; its splits are {', '.join(splits)}. Set `split`")
    return splits[split]


def _first_line(error: Exception) -> str:
    return f"{type(error).__name__}: {(str(error).splitlines() or [''])[0].rstrip('.')}"
