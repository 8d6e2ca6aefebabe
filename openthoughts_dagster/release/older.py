"""Reads the questions of older releases and data sets, which a release leaves out."""

from collections.abc import Callable, Sequence
from pathlib import Path

import polars as pl

from openthoughts_dagster.questions import QuestionSetError
from openthoughts_dagster.questions.dedup import AcceptedError, accepted_questions
from openthoughts_dagster.questions.question_sets import read_question_sets
from openthoughts_dagster.release.errors import ReleaseError
from openthoughts_dagster.storage import Folders, StorageError, join_address, local_path

_COLUMNS = ["release", "question_id", "question"]


def older_questions(names: Sequence[str], resolve: Callable[[str], str]) -> pl.DataFrame:
    """Read the questions of `release.against`.

    Args:
        names: Folders of releases, on this machine or in a store; Parquet, JSON Lines or Delta tables with a column
            question; or data sets of the hub as `dataset:split:column`.
        resolve: Turns a path of the recipe into one of this machine.

    Returns:
        Columns release, question_id and question.

    Raises:
        ReleaseError: One of them cannot be read; the message names it.
    """
    return pl.concat([_read(name, resolve).select(_COLUMNS) for name in names])


def _read(name: str, resolve: Callable[[str], str]) -> pl.DataFrame:
    parts = name.rsplit(":", 2)
    try:
        if len(parts) == 3 and "://" not in name and not Path(resolve(name)).exists():
            rows = read_question_sets([name], resolve)
            return rows.with_columns(release=pl.lit(name), question_id=pl.int_range(pl.len()).cast(pl.String))
        address = resolve(name)
        rows = accepted_questions([_files_of_release(address) or address])
        return rows.with_columns(release=pl.lit(name))
    except (AcceptedError, QuestionSetError, StorageError) as error:
        says = str(error).removeprefix("dedup.against: ").removeprefix("decontamination.against: ")
        raise ReleaseError(f"release.against: {says}") from error


def _files_of_release(address: str) -> str | None:
    """Return a pattern of the files with the questions, when there is a release of ours at the address."""
    if (folder := local_path(address)) is not None:
        found = (folder / "release.json").is_file() and (folder / "questions").is_dir()
        return str(folder / "questions" / "*.parquet") if found else None
    manifest = Folders().manifest(address)
    return None if manifest is None else join_address(address, manifest.content, "questions", "*.parquet")
