"""The reader of datasets of the Hugging Face hub. Datasets are streamed, and each data file is a shard."""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

from openthoughts_dagster.recipe import HubPart, HuggingFaceSource, Recipe
from openthoughts_dagster.recipe.lock import CONVERTED, parts_of
from openthoughts_dagster.sources.columns import needed_columns, text_columns
from openthoughts_dagster.sources.contract import Reader, ReaderContext, Reading, Row, Shard, SourceError
from openthoughts_dagster.sources.copies import Copy, local_copy
from openthoughts_dagster.sources.hub_files import (
    check_data_files,
    check_readme,
    csv_settings,
    raw_json_files,
    raw_rows,
)
from openthoughts_dagster.sources.json_values import short_float_columns, write_short_floats

_SAVED = ("state.json", "dataset_dict.json")


def read_hugging_face(source: HuggingFaceSource, recipe: Recipe, context: ReaderContext, seed: str) -> Reading:
    """Read a dataset of the hub from a folder of the recipe, from a local copy, or from the hub.

    On the hub the revision is resolved to a commit first, so that all files are of one commit. A source that landed is
    never read from a folder of the recipe.

    Args:
        source: The source.
        recipe: The recipe, whose folder relative paths start at.
        context: Has the folder of local copies.
        seed: Not used by this reader.

    Returns:
        One shard for each data file of each part and subset.

    Raises:
        SourceError: The dataset or a split cannot be loaded. The message names the splits that there are.
    """
    from datasets.utils.logging import disable_progress_bar

    disable_progress_bar()
    shards: list[Shard] = []
    for part in parts_of(source):
        where = f"sources.{source.name}: dataset {part.dataset!r}"
        folders = [] if source.confined_to else [Path(recipe.path(part.dataset))]
        locked = recipe.locked_commit(part.dataset, part.revision)
        copy = locate_dataset(part, where, folders, context.copies, locked)
        check_readme(copy, part.dataset, where)
        for subset in part.subset if isinstance(part.subset, list) else [part.subset]:
            shards += _make_shards(source, part, subset, copy, where)
    return Reading(_number_repeated(shards))


READER = Reader(HuggingFaceSource, read_hugging_face, package="datasets")


def _number_repeated(shards: list[Shard]) -> list[Shard]:
    """Give shards names of their own where a source reads a split twice, e.g. with other columns."""
    times, named = Counter[str](), list[Shard]()
    for shard in shards:
        times[shard.name] += 1
        again = times[shard.name]
        named.append(shard if again == 1 else replace(shard, name=f"{shard.name}#{again}"))
    return named


def locate_dataset(
    part: HubPart, where: str, folders: list[Path], copies: Path | None, locked: str | None = None
) -> Copy:
    """Find a dataset in one of `folders`, below `copies`, or on the hub, in this order.

    Args:
        part: The dataset and its revision.
        where: The name of the setting, for errors.
        folders: Folders of the recipe that the dataset may be.
        copies: A folder of copies.
        locked: The commit that the recipe's lock file has for it.

    Raises:
        SourceError: The dataset cannot be found, or the copy is not of the commit.
    """
    revision = locked or part.revision
    folders = [*folders, *([copies / part.dataset] if copies else [])]
    folder = next((folder for folder in folders if folder.is_dir()), None)
    if folder is not None:
        return local_copy(folder, part.dataset, revision, where)
    from huggingface_hub import HfApi

    try:
        commit = HfApi().dataset_info(part.dataset, revision=revision).sha
    except Exception as error:  # errors of the hub and of the network have no common class
        looked = f", and there is no copy at {copies / part.dataset}" if copies else ""
        raise SourceError(
            f"{where} cannot be loaded: {_describe_error(error)}{looked}. Check the name, the network and `revision`; "
            "gated datasets need HF_TOKEN; without a network set OPENTHOUGHTS_DATASETS to a folder of copies"
        ) from error
    return Copy(part.dataset, commit, str(commit))


def _make_shards(source: HuggingFaceSource, part: HubPart, subset: str | None, copy: Copy, where: str) -> list[Shard]:
    split, columns = part.split or source.split, part.columns or source.columns
    builder, rows = _load_split(part, subset, split, copy, where, text_columns(columns))
    raw = raw_json_files(builder, rows, split, columns)
    if rows.column_names is not None and (needed := needed_columns(source, columns, rows.column_names)) is not None:
        rows = rows.select_columns(needed)
    known = {"dataset": part.dataset, "subset": subset, "split": split, "revision": copy.commit}
    origin = {name: value for name, value in known.items() if value is not None}
    count, features = rows.num_shards, rows.features or {}
    texts = [name for name in text_columns(columns) if name in features]
    short = short_float_columns({name: getattr(features[name], "dtype", "") for name in texts})

    def opened(index: int) -> Callable[[], Iterator[Row]]:
        def rows_of_shard() -> Iterator[Row]:
            try:
                if raw:
                    found = raw_rows(source.name, raw[index], rows.column_names)
                else:
                    read = rows.shard(num_shards=count, index=index)
                    found = (Row(write_short_floats(values, short), {}) for values in read)
                for number, row in enumerate(found):
                    yield Row(row.values, origin | {"shard": index, "row": number}, row.problem, part.columns)
            except SourceError:
                raise
            except Exception as error:
                raise SourceError(
                    f"{where}, shard {index} of {count}: {_describe_error(error)}. {_suggest_files(copy)}"
                ) from error

        return rows_of_shard

    name = "/".join(str(value) for value in (part.dataset, subset, split) if value)
    return [Shard(f"{name}/{index:05}-of-{count:05}", copy.version, opened(index)) for index in range(count)]


def _load_split(
    part: HubPart, subset: str | None, split: str, copy: Copy, where: str, texts: list[str]
) -> tuple[Any, Any]:
    """Load a split. Returns the dataset's builder (None when `save_to_disk` wrote the dataset) and the rows."""
    from datasets import load_dataset_builder

    if copy.is_folder and any((Path(copy.address) / name).is_file() for name in _SAVED):
        return None, _split_of(_load_saved(copy, where), split, where)
    arguments: dict[str, Any] = {"data_dir": subset} if part.revision == CONVERTED else {"name": subset}
    arguments["revision"] = None if copy.is_folder else copy.commit
    try:
        builder = load_dataset_builder(copy.address, **arguments)
        if builder.name == "csv":  # values stay as the file has them: 0050 and NA are what somebody wrote
            check_data_files(builder, copy, where)
            first: Any = next(iter(next(iter(builder.as_streaming_dataset().values()))), {})  # its keys are the columns
            builder = load_dataset_builder(copy.address, **arguments, **csv_settings(list(first), texts))
        check_data_files(builder, copy, where)
        splits = builder.as_streaming_dataset()
    except SourceError:
        raise
    except Exception as error:
        raise SourceError(
            f"{where} cannot be loaded: {_describe_error(error)}. Check `subset`; a dataset with a loading script is "
            f"read with `revision: {CONVERTED}`"
        ) from error
    return builder, _split_of(splits, split, where)


def _load_saved(copy: Copy, where: str) -> Any:
    """Load the splits that `save_to_disk` of the library `datasets` wrote."""
    from datasets import DatasetDict, load_from_disk

    try:
        saved = load_from_disk(copy.address)
    except Exception as error:
        raise SourceError(
            f"{where} was written by save_to_disk and cannot be loaded: {_describe_error(error)}"
        ) from error
    return saved if isinstance(saved, DatasetDict) else {"train": saved}


def _split_of(splits: Any, split: str, where: str) -> Any:
    if split not in splits:
        raise SourceError(f"{where} has no split {split!r}; its splits are {', '.join(splits)}. Set `split`")
    rows = splits[split]
    rows = rows if not hasattr(rows, "to_iterable_dataset") else rows.to_iterable_dataset()
    from datasets.features.features import require_decoding

    if rows.features is not None and any(require_decoding(feature) for feature in rows.features.values()):
        return rows.decode(False)  # images and sounds stay bytes, and the addresses in them are not fetched
    return rows


def _suggest_files(copy: Copy) -> str:
    files = f"{copy.address}/**/*.jsonl" if copy.is_folder else f"hf://datasets/{copy.address}@{copy.commit}/**/*.jsonl"
    return f"To have such rows one by one, name the files: `reader: files`, `path: {files}`, or as its files are called"


def _describe_error(error: Exception) -> str:
    """Describe an error and its causes in one line of bounded length."""
    causes: list[BaseException] = []
    cause: BaseException | None = error
    while cause is not None and len(causes) < 3:
        causes.append(cause)
        cause = cause.__cause__
    said = dict.fromkeys(f"{type(cause).__name__}: {' '.join(str(cause).split())[:400]}" for cause in causes)
    return "; because of ".join(islice(said, 3)).rstrip(".")
