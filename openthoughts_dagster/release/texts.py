"""Reads the rows of a release with their texts, a part at a time."""

from collections.abc import Iterator

import polars as pl

from openthoughts_dagster.lake import COMPLETIONS, DEDUPED_QUESTIONS, REASONING_DATASET
from openthoughts_dagster.lake.reading import LakeReader, read_slices

_PART = 20_000  # questions that are read at once


def scan_rows(lake: LakeReader, teacher: str) -> pl.LazyFrame:
    """Scan the rows of the release by name, without texts."""
    return lake.scan(REASONING_DATASET, teacher=teacher)


def scan_answers(lake: LakeReader, teacher: str, *columns: str) -> pl.LazyFrame:
    """Scan short columns of the completions of the release's rows; `read_answer_texts` is for texts.

    Args:
        lake: The tables.
        teacher: The release's partition.
        columns: Columns of `completions` that are joined; a row whose completion is gone has nulls there.

    Returns:
        Columns source, question_id, sample_index, and `columns`, in no order.
    """
    rows = scan_rows(lake, teacher).select("source", "question_id", "sample_index", "model", "completion_id")
    models = rows.select(pl.col("model").unique()).collect()["model"].implode()
    texts = (
        lake.scan(COMPLETIONS)
        .filter(pl.col("model").is_in(models))
        .select("completion_id", pl.lit(True).alias("found"), *columns)
        .join(rows.select("completion_id").unique(), on="completion_id", how="semi")
        .unique("completion_id", keep="any")
    )
    joined = rows.join(texts, on="completion_id", how="left")
    return joined.select("source", "question_id", "sample_index", pl.col("found").fill_null(False), *columns)


def read_answer_texts(lake: LakeReader, rows: pl.DataFrame) -> Iterator[pl.DataFrame]:
    """Read the texts of completions from the ledger, a data file at a time.

    Args:
        lake: The tables, which have the ledger.
        rows: Columns model and completion_id, and any others.

    Yields:
        Columns completion_id, reasoning, answer, and the others of `rows`, a row for each row, in no order. What the
        ledger does not have any more is left out.
    """
    for model, names in rows.partition_by("model", as_dict=True, include_key=False).items():
        for file in lake.read_files(COMPLETIONS, ("completion_id", "reasoning", "answer"), model=str(model[0])):
            yield file.join(names, on="completion_id", how="inner")


def read_question_parts(lake: LakeReader, source: str, ids: pl.Series, *columns: str) -> Iterator[pl.DataFrame]:
    """Read questions of a source from `deduped_questions`, a part at a time.

    Args:
        lake: The tables.
        source: The source.
        ids: The ids of the questions. Those that the table does not have any more are left out.
        columns: Columns of the table.

    Yields:
        Column question_id and `columns`, in the order of the table.
    """
    rows = lake.scan(DEDUPED_QUESTIONS, source=source).select("question_id", *columns)
    for part in read_slices(rows, _PART):
        yield part.filter(pl.col("question_id").is_in(ids.implode()))


def scan_questions(lake: LakeReader, teacher: str, *more: str) -> pl.LazyFrame:
    """Scan the questions of the release, each once: source, question_id, question, licence, and the columns `more`.

    The texts are null for a question that `deduped_questions` does not have any more.
    """
    names = scan_rows(lake, teacher).select("source", "question_id").unique()
    sources = names.select(pl.col("source").unique()).collect()["source"].implode()
    kept = lake.scan(DEDUPED_QUESTIONS).filter(pl.col("source").is_in(sources))
    return names.join(
        kept.select("source", "question_id", "question", "licence", *more), on=["source", "question_id"], how="left"
    )
