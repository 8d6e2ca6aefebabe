"""Writes the folder of a version: Parquet files of every config, and a manifest of the rows."""

from collections.abc import Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar

import numpy as np
import polars as pl
import pyarrow as pa

from openthoughts_dagster.lake import (
    COMPLETIONS,
    DEDUPED_QUESTIONS,
    RAW_SOURCES,
    SCORED_QUESTIONS,
    text_hash,
    text_hashes,
)
from openthoughts_dagster.lake.reading import LakeReader
from openthoughts_dagster.release.columns import CONFIGS, Config, published_text, turn_texts
from openthoughts_dagster.release.errors import ReleaseError
from openthoughts_dagster.release.ordering import ordered_texts
from openthoughts_dagster.release.pool import QUESTION
from openthoughts_dagster.release.shards import ShardWriter, shard_writer

T = TypeVar("T")

MANIFEST = "manifest.parquet"
_HASHED = (
    "source",
    "question_id",
    "sample_index",
    "content",
    "domain",
    "licence",
    "difficulty",
    "agreement",
    "majority",
)
_IDS = ("source", "question_id", "sample_index", "model", "completion_id", "content")
_LEDGER = (
    "completion_id",
    "outcome",
    "finish_reason",
    "prompt_tokens",
    "completion_tokens",
    "cost",
    "currency",
    "sampling",
    "created_at",
)
_ABOUT = (*QUESTION, "question", "reference_answer", "origin")
_OF_QUESTION = ("domain", "licence", "difficulty", "agreement")
_REPEATED = ("teacher", "model", "domain", "licence", "outcome", "finish_reason", "currency", "sampling")
_SLICE_BYTES = 64 * 2**20  # text that is copied into Arrow at once


@dataclass(frozen=True)
class ConfigFiles:
    """The size of one config: rows, bytes before compression, bytes of its files, and how many files they are."""

    rows: int
    bytes: int
    file_bytes: int
    files: int


def manifest_of(rows: pl.DataFrame) -> pl.DataFrame:
    """Return the manifest of rows: position, a hash of each row, and the ids that it is known by.

    The hash of a row covers its question, its text (by the hash of the completion) and the published columns that
    describe it. Costs and times are no part of it.

    Args:
        rows: Rows of reasoning_dataset in their order.
    """
    parts = [pl.col(name).cast(pl.String).fill_null("") for name in _HASHED]
    names = rows.select(pl.concat_str(parts, separator="\x1f")).to_series()
    hashes = pl.Series("row_hash", text_hashes(["row"], names, []), dtype=pl.String)
    return rows.select("position", hashes, *_IDS)


def version_of(manifest: pl.DataFrame) -> str:
    """Return the version of a manifest's rows: equal rows in the same order have the same version."""
    return text_hash("release", "\n".join(manifest["row_hash"]))[:12]


def write_files(
    lake: LakeReader, rows: pl.DataFrame, rejected: pl.DataFrame, folder: Path, shard_bytes: int, scratch: Path
) -> dict[str, ConfigFiles]:
    """Write the files of every config and the manifest into a folder.

    Args:
        lake: The tables with the questions and completions of the rows.
        rows: Rows of reasoning_dataset, in their order.
        rejected: Rows of rejected_release.
        folder: Where the files are written; it is there and empty.
        shard_bytes: Bytes of a file's rows before compression.
        scratch: A folder for texts on their way, with space for all of them.

    Returns:
        What was written, by config. Without rejected rows there is no config `rejected`: `datasets` knows no empty one.

    Raises:
        ReleaseError: A question or completion of the rows is gone.
        OSError: The disk is full, or cannot be written.
    """
    questions = read_questions(lake, rows)
    named = rows.join(read_ledger(lake, rows), on="completion_id", how="left", maintain_order="left")
    named = named.with_columns(pl.col(name).cast(pl.Categorical) for name in _REPEATED)
    with ExitStack() as stack, ThreadPoolExecutor(4) as threads:
        writers = {
            name: stack.enter_context(shard_writer(folder / config.folder, config, shard_bytes))
            for name, config in CONFIGS.items()
        }
        by_question = threads.submit(_write_questions, writers["questions"], lake, rows, named, questions, scratch)
        for part, texts in _one_ahead(_conversations(lake, named, questions, scratch), threads):
            write = partial(_write, rows=part, texts=texts)
            list(threads.map(write, (writers[name] for name in ("default", "messages", "metadata"))))
        by_question.result()
        for part in _slices(rejected.sort("step", *QUESTION, "sample_index"), CONFIGS["rejected"]):
            _write(writers["rejected"], part)
    manifest_of(rows).write_parquet(folder / MANIFEST, compression="zstd")
    return {name: _size_of(writer) for name, writer in writers.items() if writer.rows}


def _conversations(
    lake: LakeReader, named: pl.DataFrame, questions: pl.DataFrame, scratch: Path
) -> Iterator[tuple[pl.DataFrame, pa.Array]]:
    """Yield the rows in their order, with the texts of their turns, a slice at a time."""
    for page in ordered_texts(lake, named, scratch):
        page = page.with_columns(text=published_text()).drop("reasoning", "answer")
        for part in _slices(_with_questions(page, questions), CONFIGS["default"]):
            yield part, turn_texts(part)


def _one_ahead(items: Iterator[T], threads: Executor) -> Iterator[T]:
    """Yield items, each of which is made while the one before it is used."""
    following = threads.submit(next, items, None)
    while (item := following.result()) is not None:
        following = threads.submit(next, items, None)
        yield item


def _write_questions(
    writer: ShardWriter,
    lake: LakeReader,
    rows: pl.DataFrame,
    named: pl.DataFrame,
    questions: pl.DataFrame,
    scratch: Path,
) -> None:
    for page in ordered_texts(lake, _by_question(rows, named), scratch, together=QUESTION):
        for part in _slices(_whole_questions(page, questions), writer.config):
            _write(writer, part)


def _slices(rows: pl.DataFrame, config: Config) -> Iterator[pl.DataFrame]:
    """Yield rows in slices of so few bytes that each can be copied into Arrow."""
    ends, start = np.cumsum(config.sizes(rows)), 0
    while start < rows.height:
        before = int(ends[start - 1]) if start else 0
        end = max(start + 1, int(np.searchsorted(ends, before + _SLICE_BYTES)))
        yield rows[start:end]
        start = end


def _write(writer: ShardWriter, rows: pl.DataFrame, texts: pa.Array | None = None) -> None:
    writer.write(writer.config.table(rows, texts), writer.config.sizes(rows))


def read_ledger(lake: LakeReader, rows: pl.DataFrame) -> pl.DataFrame:
    """Read the short columns of the completions of rows from the ledger, each completion once."""
    models = rows["model"].unique().implode()
    own = lake.scan(COMPLETIONS).filter(pl.col("model").is_in(models)).select(_LEDGER)
    return (
        own.with_columns(pl.col(name).cast(pl.Categorical) for name in _LEDGER if name in _REPEATED)
        .join(rows.lazy().select("completion_id").unique(), on="completion_id", how="semi")
        .unique("completion_id", keep="any")
        .rename({"created_at": "answered_at"})
        .collect()
    )


def read_questions(lake: LakeReader, rows: pl.DataFrame) -> pl.DataFrame:
    """Read the texts of the questions of rows. One that is no longer selected is still in an earlier table."""
    wanted, found = rows.lazy().select(QUESTION).unique(), list[pl.DataFrame]()
    for table in (DEDUPED_QUESTIONS, SCORED_QUESTIONS, RAW_SOURCES):
        own = lake.scan(table).select(
            *_ABOUT, pl.col("scores") if "scores" in table.columns else pl.lit("{}").alias("scores")
        )
        part = own.join(wanted, on=QUESTION, how="semi").unique(QUESTION, keep="any").collect()
        found.append(part)
        wanted = wanted.join(part.lazy(), on=QUESTION, how="anti").collect().lazy()
        if wanted.select(pl.len()).collect().item() == 0:
            return pl.concat(found)
    gone = wanted.collect()
    raise ReleaseError(
        f"{gone.height:,} questions of the release are in no table of {lake.root} any more, such as "
        f"{gone['question_id'][0]} of {gone['source'][0]}: the source was read again without them"
    )


def _with_questions(rows: pl.DataFrame, questions: pl.DataFrame) -> pl.DataFrame:
    full = rows.join(questions, on=QUESTION, how="left", maintain_order="left")
    return full.with_columns(pl.col(pl.Categorical).cast(pl.String))


def _by_question(rows: pl.DataFrame, named: pl.DataFrame) -> pl.DataFrame:
    """Put the rows of a question beside each other; questions stand in the order of their first rows."""
    first = rows.select(*QUESTION, first=pl.col("position").min().over(QUESTION)).unique()
    kept = named.select(*_OF_QUESTION, *_IDS, "completion_tokens", "majority")
    return kept.join(first, on=QUESTION, how="left").sort("first", "sample_index")


def _whole_questions(page: pl.DataFrame, questions: pl.DataFrame) -> pl.DataFrame:
    answers = page.with_columns(text=published_text()).group_by(QUESTION, maintain_order=True)
    whole = answers.agg(
        *(pl.col(name).first() for name in _OF_QUESTION),
        sample_indices="sample_index",
        answers="text",
        majority_answer=pl.col("answer").filter(pl.col("majority")).first().str.strip_chars(),
    )
    return _with_questions(whole, questions)


def _size_of(writer: ShardWriter) -> ConfigFiles:
    files = sorted(writer.folder.glob("*.parquet"))
    return ConfigFiles(writer.rows, writer.bytes, sum(path.stat().st_size for path in files), len(files))
