"""The rows of a benchmark of the paper, from a copy in a folder or from the hub, at one commit."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from openthoughts_dagster.evaluation.data_sets import open_once
from openthoughts_dagster.evaluation.errors import BenchmarkError
from openthoughts_dagster.recipe import HubPart, PaperBenchmark
from openthoughts_dagster.sources.contract import SourceError
from openthoughts_dagster.sources.copies import Copy
from openthoughts_dagster.sources.hub_files import check_data_files, check_readme
from openthoughts_dagster.sources.hugging_face import locate_dataset

Row = dict[str, Any]


@dataclass(frozen=True)
class PaperRows:
    """The items of a benchmark.

    Attributes:
        rows: What prompts and references are made of; `question` is the question, whatever its column is called.
        whole: All columns of an item, by its place in `rows`. Hidden tests are gigabytes: they stay on disk.
        origin: The data set and its commit.
    """

    rows: list[Row]
    whole: Callable[[int], Row]
    origin: str


def read_rows(
    benchmark: PaperBenchmark, resolve: Callable[[str], str], columns: Sequence[str], counts: Callable[[Row], bool]
) -> PaperRows:
    """Read the items of a benchmark.

    Args:
        benchmark: Which one.
        resolve: Makes a relative path of the recipe absolute, and the id of a data set its copy where there is one.
        columns: Columns that prompts and references are made of, beside the question.
        counts: Whether a row is an item of the benchmark.

    Raises:
        BenchmarkError: The data set cannot be had, is not at the pinned commit, or has other columns or another number
            of items than the paper's.
    """
    data = benchmark.data
    dataset = benchmark.dataset or data.dataset
    where = f"the data set {dataset!r}"
    try:
        part = HubPart(dataset=dataset, subset=data.subset, revision=benchmark.revision)
        copy = locate_dataset(part, where, [Path(resolve(dataset))], None)
        check_readme(copy, dataset, where)
        opened_as = (copy.address, data.subset, data.split)
        table = open_once(opened_as, lambda: _loaded(copy, data.subset, data.split, where), copy.version)
    except SourceError as error:
        raise BenchmarkError(str(error)) from error
    question = next((name for name in data.question if name in table.column_names), None)
    missing = [
        *([] if question else [" or ".join(data.question)]),
        *(c for c in columns if c not in table.column_names),
    ]
    if missing:
        raise BenchmarkError(f"{where} has no column {', '.join(missing)}; it has {', '.join(table.column_names)}")
    light = [{**row, "question": row[question]} for row in table.select_columns([*{question, *columns}])]
    kept = [place for place, row in enumerate(light) if counts(row)]
    _check_size(benchmark, where, len(kept))
    origin = f"{dataset}@{copy.commit or 'unknown commit'}"
    return PaperRows([light[place] for place in kept], lambda item: dict(table[kept[item]]), origin)


def _loaded(copy: Copy, subset: str | None, split: str, where: str) -> Any:
    from datasets import load_dataset, load_dataset_builder

    revision = None if copy.is_folder else copy.commit
    try:
        check_data_files(load_dataset_builder(copy.address, subset, revision=revision), copy, where)
        return load_dataset(copy.address, subset, split=split, revision=revision)
    except SourceError:
        raise
    except Exception as error:  # the hub, the network, a file of another format: whatever it is, say which data set
        said = (str(error).splitlines() or [""])[0]
        raise SourceError(
            f"{where} (subset {subset}, split {split}) cannot be loaded: {type(error).__name__}: {said}. Check the "
            "network and HF_TOKEN for gated data sets, or name a data set of the same shape with `dataset`"
        ) from error


def _check_size(benchmark: PaperBenchmark, where: str, found: int) -> None:
    wanted = benchmark.size or benchmark.data.items
    if found != wanted:
        raise BenchmarkError(
            f"{where} has {found:,} items of {benchmark.task} and not {wanted:,}: it is another version of the "
            f"benchmark, and its scores compare with no other. Pin a `revision`, or say `size: {found}`"
        )


def text_of(value: Any) -> str:
    """A reference as a text: 27.0 in a column of numbers is 27."""
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)
