"""Reads questions that may not be trained on: of benchmarks, and the sets of `decontamination.against`."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import polars as pl

from openthoughts_dagster.lake.credentials import without_credentials
from openthoughts_dagster.lake.unicode import replace_lone_surrogates
from openthoughts_dagster.questions.decontaminate import with_splits
from openthoughts_dagster.recipe import Decontamination, Evaluation, HubPart
from openthoughts_dagster.sources.columns import FIRST_REPLY, FIRST_USER, text_of, value_of
from openthoughts_dagster.sources.contract import SourceError
from openthoughts_dagster.sources.files import has_known_format, read_records
from openthoughts_dagster.sources.hub_tables import load_table
from openthoughts_dagster.sources.opening import file_name

SCHEMA = pl.Schema({"benchmark": pl.String, "question": pl.String, "split": pl.String})


class QuestionSetError(ValueError):
    """Questions that may not be trained on cannot be read; the message says what to change."""


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
            origin, split, questions = read_addressed(name, resolve)
            if not questions:
                raise QuestionSetError("it has no question")
        except QuestionSetError as error:
            problems.append(f"decontamination.against: {without_credentials(name)}: {error}")
            continue
        rows = {"benchmark": [origin] * len(questions), "question": questions, "split": [split] * len(questions)}
        frames.append(pl.DataFrame(rows, schema=SCHEMA))
    if problems:
        raise QuestionSetError("\n".join(problems))
    return pl.concat(frames)


def read_addressed(address: str, resolve: Callable[[str], str]) -> tuple[str, str, list[str]]:
    """Read the questions at an address.

    Args:
        address: `dataset:split:column` or `dataset(subset):split:column`, with `@revision` after the dataset if wanted,
            or a file, with `:column` after it when the column is not `question`. A column may be a path: names select
            fields, numbers select items, a name maps over lists, and `first_user` is the first turn of a chat's user.
        resolve: Turns a path of the recipe into one of this machine.

    Returns:
        The dataset or the file, the split or the file's name, and the distinct questions in order.

    Raises:
        QuestionSetError: The address is none, or the questions cannot be read.
    """
    try:
        return _read_file(address, resolve) or _read_dataset(address, resolve)
    except SourceError as error:
        raise QuestionSetError(str(error)) from error


def _read_file(name: str, resolve: Callable[[str], str]) -> tuple[str, str, list[str]] | None:
    """Read the questions of a file; None if `name` is not that of a file."""
    path, column = name, "question"
    if not has_known_format(name):
        path, _, column = name.rpartition(":")
        if not has_known_format(path):
            return None
    return without_credentials(path), file_name(path), _questions(read_records("questions", resolve(path)), column)


def _read_dataset(name: str, resolve: Callable[[str], str]) -> tuple[str, str, list[str]]:
    parts = name.rsplit(":", 2)
    if len(parts) != 3 or not all(parts):
        raise QuestionSetError(
            "must be dataset:split:column, dataset(subset):split:column, or a file such as old.jsonl, with :column "
            f"where the column is not question, got {name!r}"
        )
    dataset, split, column = parts
    origin, _, subset = dataset.removesuffix(")").partition("(")
    origin, _, revision = origin.partition("@")
    part = HubPart(dataset=origin, subset=subset or None, revision=revision or None)
    return origin, split, _questions(load_table(part, split, resolve).rows, column)


def _questions(rows: Iterable[Mapping[str, Any]], column: str) -> list[str]:
    texts, known = list[str](), dict[str, None]()
    for row in rows:
        known |= dict.fromkeys(row)
        path = [column] if column in row else column.split(".")
        if path[0] in row:  # rows of JSON Lines need not have the same columns
            texts += _inside(row[path[0]], path[1:], path[0])
    if known and column not in known and column.partition(".")[0] not in known:
        raise QuestionSetError(f"there is no column {column.partition('.')[0]!r}; there are {', '.join(known)}")
    return list(dict.fromkeys(replace_lone_surrogates(text) for text in texts if text.strip()))


def _inside(value: Any, path: Sequence[str], where: str) -> list[str]:
    """Return the texts at `path` in a value: names select fields, numbers select items, and a name maps over lists."""
    if value is None:
        return []
    if path and path[0] in (FIRST_USER, FIRST_REPLY):
        return _inside(value_of(f"chat.{path[0]}", {"chat": value}), path[1:], f"{where}.{path[0]}")
    if isinstance(value, list):
        if path and path[0].isdigit():
            at = int(path[0])
            return _inside(value[at], path[1:], f"{where}.{at}") if at < len(value) else []
        return [text for item in value for text in _inside(item, path, where)]
    if isinstance(value, dict) and not path:
        chat = f", or {where}.{FIRST_USER} for the first turn of a chat" if "content" in value else ""
        raise QuestionSetError(
            f"the column {where!r} holds {', '.join(map(repr, value))} and no text; name what is inside of it, such as "
            f"{where}.{next(iter(value), 'content')}{chat}"
        )
    if not path:
        return [text_of(value)]
    if not isinstance(value, dict) or path[0] not in value:
        raise QuestionSetError(f"there is no {path[0]!r} inside of {where!r}; there is {str(value)[:80]}")
    return _inside(value[path[0]], path[1:], f"{where}.{path[0]}")
