"""Reads the sets of `decontamination.against`: data sets of the hub and files that may not be trained on."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from openthoughts_dagster.questions.decontaminate import with_splits
from openthoughts_dagster.recipe import Decontamination, Evaluation

SCHEMA = pl.Schema({"benchmark": pl.String, "question": pl.String, "split": pl.String})
_FILES = (".jsonl", ".jsonl.gz", ".ndjson", ".parquet")


class QuestionSetError(ValueError):
    """Questions of `decontamination.against` cannot be read; the message says what to change."""


def compared_questions(
    benchmarks: pl.DataFrame, evaluation: Evaluation, settings: Decontamination, resolve: Callable[[str], str]
) -> pl.DataFrame:
    """Collect the questions that decontamination compares with: those of the benchmarks and of `settings.against`.

    Args:
        benchmarks: Columns benchmark and question, as `benchmark_questions` reads them.
        evaluation: The recipe's evaluation, which has the split of each benchmark.
        settings: The recipe's decontamination.
        resolve: Turns a path of the recipe into one of this machine.

    Returns:
        Columns benchmark, question and split.

    Raises:
        QuestionSetError: A set cannot be read or has no question; the message names every such set.
    """
    own = with_splits(benchmarks, evaluation).select(pl.col(name).cast(kind) for name, kind in SCHEMA.items())
    return pl.concat([own, read_question_sets(settings.against, resolve)])


def read_question_sets(sets: Sequence[str], resolve: Callable[[str], str]) -> pl.DataFrame:
    """Read the questions of `decontamination.against`: columns benchmark (data set or file), question and split."""
    frames, problems = [SCHEMA.to_frame()], []
    for name in sets:
        try:
            origin, split, questions = _read_file(name, resolve) or _read_dataset(name, resolve)
            if not questions:
                raise QuestionSetError("it has no question")
        except QuestionSetError as error:
            problems.append(f"decontamination.against: {name}: {error}")
            continue
        rows = {"benchmark": [origin] * len(questions), "question": questions, "split": [split] * len(questions)}
        frames.append(pl.DataFrame(rows, schema=SCHEMA))
    if problems:
        raise QuestionSetError("\n".join(problems))
    return pl.concat(frames)


def _read_file(name: str, resolve: Callable[[str], str]) -> tuple[str, str, list[str]] | None:
    """Read the questions of a file; None if `name` is not that of a file."""
    path, column = name, "question"
    if not name.endswith(_FILES):
        path, _, column = name.rpartition(":")
        if not path.endswith(_FILES):
            return None
    where = resolve(path)
    try:
        rows = pl.read_parquet(where) if path.endswith(".parquet") else pl.read_ndjson(where, infer_schema_length=None)
    except (OSError, pl.exceptions.PolarsError) as error:
        raise QuestionSetError(
            f"{where} cannot be read: {(str(error).splitlines() or [''])[0]}. Relative paths start at the recipe's "
            "folder"
        ) from error
    return path, Path(path).name, _questions(rows.iter_rows(named=True), column, rows.columns)


def _read_dataset(name: str, resolve: Callable[[str], str]) -> tuple[str, str, list[str]]:
    parts = name.rsplit(":", 2)
    if len(parts) != 3 or not all(parts):
        raise QuestionSetError(
            "must be dataset:split:column, dataset(subset):split:column, or a file that ends in "
            f"{', '.join(_FILES)}, with :column where the column is not question"
        )
    dataset, split, column = parts
    origin, _, subset = dataset.removesuffix(")").partition("(")
    folder = Path(resolve(origin))

    from datasets import load_dataset

    try:
        rows = load_dataset(str(folder) if folder.is_dir() else origin, subset or None, split=split)
    except Exception as error:  # whatever fails, the hub, the network or a file, the error names the data set
        raise QuestionSetError(
            f"it could not be loaded: {type(error).__name__}: {(str(error).splitlines() or [''])[0]}. Check the name, "
            "the network, and HF_TOKEN for gated data sets"
        ) from error
    return origin, split, _questions(rows, column, rows.column_names)


def _questions(rows: Any, column: str, columns: Sequence[str]) -> list[str]:
    path = [column] if column in columns else column.split(".")
    if path[0] not in columns:
        raise QuestionSetError(f"there is no column {path[0]!r}; there are {', '.join(columns)}")
    texts = [text for row in rows for text in _inside(row, path)]
    return list(dict.fromkeys(text for text in texts if text.strip()))


def _inside(value: Any, path: Sequence[str]) -> list[str]:
    """Return the texts at `path` in a row: names select fields, numbers select items, and a name maps over lists."""
    if value is None:
        return []
    if isinstance(value, list):
        if path and path[0].isdigit():
            return _inside(value[int(path[0])], path[1:]) if int(path[0]) < len(value) else []
        return [text for item in value for text in _inside(item, path)]
    if not path:
        return [str(value)]
    if not isinstance(value, dict) or path[0] not in value:
        raise QuestionSetError(f"there is no {path[0]!r} inside of the column; there is {str(value)[:80]}")
    return _inside(value[path[0]], path[1:])
