"""Training sets: the answers that one student learns from, stored under a name and without their texts.

A cell has a training set, and so has an arm of a study or a release. To train a student, choose rows, publish them
under a name, and read them back with their texts.
"""

from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pyarrow as pa
from pyarrow.parquet import ParquetWriter

from openthoughts_dagster.generation.reasoning import join_reasoning
from openthoughts_dagster.generation.requests import FINISHED
from openthoughts_dagster.lake import COMPLETIONS, TRAINING_SETS, Lake, text_hash

_NAMES = ["source", "question_id", "sample_index", "model", "completion_id"]
_PAGE = 20_000  # rows whose texts are in memory at the same time
_GROUP = 1000  # rows of a group in a parquet file, which its readers hold together
_SHOWN = 5

TRAINING_ROWS = pa.schema([("question", pa.large_string()), ("text", pa.large_string()), ("ended", pa.bool_())])
"""The columns of a file of rows that a student learns from."""


def sample_rows(answers: pl.DataFrame, count: int, seed: int, repeat: bool) -> pl.DataFrame:
    """Draw the rows of a training set from answers, in a seeded order.

    The order comes from a hash of the seed and the answer's identity, so it does not depend on the order in which
    answers arrived, and a larger `count` begins with the same rows. With `repeat`, rows are repeated if there are fewer
    answers than `count`, as the paper does to compare training sets of equal size (OpenThoughts, arXiv 2506.04178,
    section 3).

    Args:
        answers: A row for each answer: source, question_id, sample_index, model and completion_id.
        count: The wanted number of rows.
        seed: Seed of the order.
        repeat: Whether rows are repeated if there are fewer than `count`.

    Returns:
        At most `count` rows with the columns of `answers` that are listed above.
    """
    names = answers.select("question_id", "sample_index")
    order = [text_hash(str(seed), question, str(sample)) for question, sample in names.iter_rows()]
    rows = (
        answers.select(_NAMES)
        .with_columns(pl.Series("order", order, dtype=pl.String))
        .sort("order", "source")
        .drop("order")
    )
    if repeat and 0 < rows.height < count:
        rows = pl.concat([rows] * -(-count // rows.height))
    return rows.head(count)


def publish_training_set(lake: Lake, name: str, rows: pl.DataFrame) -> None:
    """Write `rows` as the training set `name`, in one commit. Nothing is written if it has the same rows already.

    Args:
        lake: The tables.
        name: Name of the set, such as `gsm8k|qwq-32b` for a cell.
        rows: Rows in their order, as `sample_rows` returns them.
    """
    numbered = rows.select(
        training_set=pl.lit(name), position=pl.int_range(pl.len(), dtype=pl.Int32), **{n: pl.col(n) for n in _NAMES}
    )
    there = lake.scan(TRAINING_SETS, training_set=name).sort("position").collect()
    if not there.equals(numbered):
        lake.replace(TRAINING_SETS, numbered, training_set=name)


def read_training_set(lake: Lake, name: str, questions: pl.LazyFrame) -> Iterator[pl.DataFrame]:
    """Read the rows of a training set with their texts, in order and page by page.

    Args:
        lake: The tables, with the set and the completions that it names.
        name: Name of the set.
        questions: Columns source, question_id and question: the texts of the questions.

    Yields:
        Frames with columns source, question_id, sample_index, question, text and ended; `text` is the reasoning in
        `<think>` tags and the answer after it, and `ended` is what `teacher_ended` says.

    Raises:
        KeyError: The set refers to a question or a completion that does not exist.
    """
    rows = lake.scan(TRAINING_SETS, training_set=name).sort("position").collect()
    models = rows["model"].unique().implode()
    for page in rows.iter_slices(_PAGE):
        texts = (
            lake.scan(COMPLETIONS)
            .filter(pl.col("model").is_in(models))
            .select("completion_id", "reasoning", "answer", teacher_ended())
            .join(page.lazy().select("completion_id").unique(), on="completion_id", how="semi")
            .unique("completion_id", keep="any")
        )
        asked = questions.select("source", "question_id", "question").join(
            page.lazy().select("source", "question_id").unique(), on=["source", "question_id"], how="semi"
        )
        full = (
            page.lazy()
            .join(asked, on=["source", "question_id"], how="left")
            .join(texts, on="completion_id", how="left")
            .sort("position")
            .collect()
        )
        if lost := full.filter(pl.col("question").is_null() | pl.col("answer").is_null()).height:
            raise KeyError(
                f"training set {name}: {lost:,} of its rows name a question or a completion that the lake does not "
                "have. Materialize teacher_answers of the source and teacher, and the student again"
            )
        yield full.select(
            "source", "question_id", "sample_index", "question", text=_join_texts(full), ended=pl.col("ended")
        )


def teacher_ended() -> pl.Expr:
    """Make the column `ended` from outcome and finish_reason of the ledger: whether the model ended its answer itself.

    It is null if its server gave no reason.
    """
    reason = pl.col("finish_reason").cast(pl.String)
    finished = (pl.col("outcome").cast(pl.String) == "answered") | reason.is_in(list(FINISHED))
    return pl.when(finished | ~reason.is_in(["unknown", ""])).then(finished).alias("ended")


def write_training_set(lake: Lake, name: str, questions: pl.LazyFrame, path: Path) -> pl.DataFrame:
    """Write questions and texts of a training set, and whether these ended, to a parquet file, page by page.

    Args:
        lake: The tables, with the set and the completions that it names.
        name: Name of the set.
        questions: Columns source, question_id and question: the texts of the questions.
        path: The file.

    Returns:
        The first few rows, for people to read.

    Raises:
        KeyError: The set refers to a question or a completion that does not exist.
    """
    first = pl.DataFrame(schema={"question": pl.String, "text": pl.String})
    with ParquetWriter(path, TRAINING_ROWS) as writer:
        for page in read_training_set(lake, name, questions):
            first = page.select("question", "text").head(_SHOWN) if first.is_empty() else first
            rows = page.select(TRAINING_ROWS.names).to_arrow().cast(TRAINING_ROWS)
            writer.write_table(rows, row_group_size=_GROUP)
    return first


def count_licences(lake: Lake, name: str, questions: pl.LazyFrame) -> pl.DataFrame:
    """Count the rows of a training set by source and licence.

    Args:
        lake: The tables, with the set.
        name: Name of the set.
        questions: Columns source, question_id and licence.

    Returns:
        Rows with the columns source, licence and rows; the licence of a question that states none is "unknown".
    """
    licences = questions.select("source", "question_id", "licence").unique(["source", "question_id"], keep="any")
    return (
        lake.scan(TRAINING_SETS, training_set=name)
        .select("source", "question_id")
        .join(licences, on=["source", "question_id"], how="left")
        .group_by("source", pl.col("licence").fill_null("unknown"))
        .agg(rows=pl.len())
        .sort("source", "licence")
        .collect()
    )


def _join_texts(rows: pl.DataFrame) -> pl.Series:
    texts = [join_reasoning(reasoning, answer) for reasoning, answer in rows.select("reasoning", "answer").iter_rows()]
    return pl.Series(texts, dtype=pl.String)
