"""Reads the rows of a release with their texts, a part at a time."""

from collections.abc import Iterator

import polars as pl

from openthoughts_dagster.lake import COMPLETIONS, DEDUPED_QUESTIONS, REASONING_DATASET
from openthoughts_dagster.lake.reading import LakeReader

_PART = 10_000


def scan_rows(lake: LakeReader, teacher: str) -> pl.LazyFrame:
    """Scan the rows of the release by name, without texts."""
    return lake.scan(REASONING_DATASET, teacher=teacher)


def scan_answers(lake: LakeReader, teacher: str, *columns: str) -> pl.LazyFrame:
    """Scan short columns of the completions of the release's rows; `scan_answer_texts` is for texts.

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


def scan_answer_texts(lake: LakeReader, teacher: str) -> pl.LazyFrame:
    """Scan the texts of the release's rows: columns source, question_id, sample_index, reasoning and answer.

    The names of rows are held in memory, and the texts pass by them. Rows whose completion is gone are left out.
    """
    rows = scan_rows(lake, teacher).select("source", "question_id", "sample_index", "model", "completion_id")
    models = rows.select(pl.col("model").unique()).collect()["model"].implode()
    texts = lake.scan(COMPLETIONS).filter(pl.col("model").is_in(models)).select("completion_id", "reasoning", "answer")
    return texts.join(rows.drop("model"), on="completion_id", how="inner", maintain_order="left").drop("completion_id")


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


def read_parts(rows: pl.LazyFrame) -> Iterator[pl.DataFrame]:
    """Read a scan in parts, so that only a few thousand texts are in memory at the same time."""
    yield from rows.collect_batches(chunk_size=_PART, maintain_order=False)
