"""Datasets of the Hugging Face hub, and local folders of the same shape."""

from collections.abc import Callable, Iterator
from pathlib import Path

from openthoughts_dagster.recipe import HuggingFaceSource
from openthoughts_dagster.sources.normalize import Row, SourceError


def read_hugging_face(source: HuggingFaceSource, resolve: Callable[[str], str]) -> Iterator[Row]:
    """The rows of one split, in its order. Raises SourceError when it cannot be loaded, naming what there is."""
    from datasets import get_dataset_split_names, load_dataset
    from datasets.utils.logging import disable_progress_bar

    disable_progress_bar()
    folder = Path(resolve(source.dataset))
    address = str(folder) if folder.is_dir() else source.dataset
    where = f"sources.{source.name}: dataset {address!r}"
    try:
        splits = get_dataset_split_names(address, source.subset, revision=source.revision)
    except Exception as error:  # hub, network and builder errors have no common class
        raise SourceError(
            f"{where} cannot be loaded: {type(error).__name__}: {str(error).splitlines()[0]}. Check the name, the "
            "network, `subset` and `revision`; gated datasets need HF_TOKEN; a local folder must exist"
        ) from error
    if source.split not in splits:
        raise SourceError(f"{where} has no split {source.split!r}; its splits are {splits}. Set `split`")
    try:
        rows = load_dataset(address, source.subset, split=source.split, revision=source.revision)
    except Exception as error:
        raise SourceError(f"{where} cannot be read: {type(error).__name__}: {str(error).splitlines()[0]}") from error
    origin = {"dataset": source.dataset, "subset": source.subset, "split": source.split, "revision": source.revision}
    said = {name: value for name, value in origin.items() if value is not None}
    for number, row in enumerate(rows):
        yield Row(row, said | {"row": number})
