"""The rows of a benchmark of the paper, from a copy in a folder or from the hub, at one commit."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from openthoughts_dagster.evaluation.errors import BenchmarkError
from openthoughts_dagster.recipe import HubPart, PaperBenchmark
from openthoughts_dagster.sources.contract import SourceError
from openthoughts_dagster.sources.hub_tables import load_table

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
        loaded = load_table(part, data.split, resolve)
    except SourceError as error:
        raise BenchmarkError(f"{error}; or name a data set of the same shape with `dataset`") from error
    table, copy = loaded.rows, loaded.copy
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


def _check_size(benchmark: PaperBenchmark, where: str, found: int) -> None:
    wanted = benchmark.size or benchmark.data.items
    if found != wanted:
        raise BenchmarkError(
            f"{where} has {found:,} items of {benchmark.task} and not {wanted:,}: it is another version of the "
            f"benchmark, and its scores cannot be compared with others. Pin a `revision`, or say `size: {found}`"
        )


def text_of(value: Any) -> str:
    """A reference as a text: 27.0 in a column of numbers is 27."""
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)
