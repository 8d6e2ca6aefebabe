"""Whole splits of hub datasets as tables: questions of benchmarks and sets that may not be trained on."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from openthoughts_dagster.recipe import HubPart
from openthoughts_dagster.recipe.lock import CONVERTED
from openthoughts_dagster.sources.contract import SourceError
from openthoughts_dagster.sources.copies import Copy
from openthoughts_dagster.sources.data_sets import open_once
from openthoughts_dagster.sources.hub_files import check_data_files, check_readme
from openthoughts_dagster.sources.hugging_face import locate_dataset


@dataclass(frozen=True)
class HubTable:
    """A split of a dataset, as the library `datasets` has it, and where it came from."""

    rows: Any
    copy: Copy


def load_table(part: HubPart, split: str, resolve: Callable[[str], str]) -> HubTable:
    """Load a split of a dataset from a folder of the recipe, from a local copy, or from the hub, at one commit.

    A folder of the present directory that has the name of a dataset of the hub is never read in its place.

    Args:
        part: The dataset, its subset and its revision.
        split: The split.
        resolve: Makes a path of the recipe absolute, and turns the id of a dataset into its copy where there is one.

    Raises:
        SourceError: The dataset, the subset or the split cannot be loaded, or its files are not its own.
    """
    where = f"the data set {part.dataset!r}"
    copy = locate_dataset(part, where, [Path(resolve(part.dataset))], None)
    check_readme(copy, part.dataset, where)
    opened_as = (copy.address, part.subset, split, part.revision)
    return HubTable(open_once(opened_as, lambda: _load(copy, part, split, where), copy.version), copy)


def _load(copy: Copy, part: HubPart, split: str, where: str) -> Any:
    from datasets import load_dataset, load_dataset_builder

    arguments = {"data_dir": part.subset} if part.revision == CONVERTED else {"name": part.subset}
    arguments["revision"] = None if copy.is_folder else copy.commit
    address = str(Path(copy.address).resolve()) if copy.is_folder else f"{copy.address}"
    try:
        check_data_files(load_dataset_builder(address, **arguments), copy, where)
        return load_dataset(address, split=split, **arguments)
    except SourceError:
        raise
    except Exception as error:  # the hub, the network, a file of another format: whatever it is, say which data set
        said = (str(error).splitlines() or [""])[0]
        raise SourceError(
            f"{where} (subset {part.subset}, split {split}) cannot be loaded: {type(error).__name__}: {said}. Check "
            "subset, split and network, and HF_TOKEN for gated data sets"
        ) from error
