"""Joins rows with their texts in the rows' order, whatever that order is, in bounded memory.

A release is shuffled, and the ledger is not: rows that stand beside each other have their texts in far-apart files. The
ledger is therefore read once, and its texts are put into buckets of neighbouring rows in a scratch folder; each bucket
fits into memory and is ordered there.
"""

import shutil
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path

import polars as pl

from openthoughts_dagster.lake.reading import LakeReader
from openthoughts_dagster.release.errors import ReleaseError
from openthoughts_dagster.release.texts import read_answer_texts

BUCKET_BYTES = 128 * 2**20
_NO_TEXTS = pl.DataFrame(schema=dict.fromkeys(("completion_id", "reasoning", "answer"), pl.String))
_TOKEN_BYTES, _LEAST_BYTES = 5, 512  # estimated bytes of the text of a token, and of a row


def ordered_texts(
    lake: LakeReader,
    rows: pl.DataFrame,
    scratch: Path,
    bucket_bytes: int = BUCKET_BYTES,
    together: Sequence[str] = (),
) -> Iterator[pl.DataFrame]:
    """Yield rows with the texts of their completions, in order.

    Args:
        lake: The tables, which have the ledger.
        rows: Columns model, completion_id and completion_tokens, and any others, in the wanted order.
        scratch: A folder for the buckets, which are deleted again. It needs as much space as the texts.
        bucket_bytes: About how many bytes of text are in one frame.
        together: Columns by which neighbouring rows are kept in one frame.

    Yields:
        Frames with the columns of `rows`, reasoning and answer.

    Raises:
        ReleaseError: The ledger lacks a completion of the rows.
    """
    size = (pl.col("completion_tokens") * _TOKEN_BYTES).clip(_LEAST_BYTES).cast(pl.Int64)
    rows = rows.with_columns(bucket=(size.cum_sum() // bucket_bytes).cast(pl.UInt32))
    if together:
        rows = rows.with_columns(pl.col("bucket").first().over(list(together)))
    wanted = rows.select("model", "completion_id", "bucket").unique()
    texts = read_answer_texts(lake, wanted)
    if wanted["bucket"].n_unique() < 2:
        yield _joined(rows, pl.concat([_NO_TEXTS, *(part.drop("bucket") for part in texts)]))
        return
    folder = scratch / f"texts-{uuid.uuid4().hex}"
    folder.mkdir(parents=True)
    try:
        _fill_buckets(texts, folder)
        for part in rows.partition_by("bucket", maintain_order=True):
            bucket = folder / str(part["bucket"][0])
            yield _joined(part, pl.concat([_NO_TEXTS, *(pl.read_ipc(path) for path in sorted(bucket.glob("*")))]))
            shutil.rmtree(bucket, ignore_errors=True)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _fill_buckets(texts: Iterator[pl.DataFrame], folder: Path) -> None:
    for number, batch in enumerate(texts):
        for (bucket,), part in batch.partition_by("bucket", as_dict=True, include_key=False).items():
            (folder / str(bucket)).mkdir(exist_ok=True)
            part.write_ipc(folder / str(bucket) / f"{number:06}.arrow")


def _joined(rows: pl.DataFrame, texts: pl.DataFrame) -> pl.DataFrame:
    own = texts.unique("completion_id", keep="any")
    full = rows.drop("bucket").join(own, on="completion_id", how="left", maintain_order="left")
    if lost := full["answer"].null_count():
        name = full.filter(pl.col("answer").is_null())["completion_id"][0]
        raise ReleaseError(
            f"the ledger lacks {lost:,} completions of the release, such as {name}: restore the table completions from "
            "a backup, or materialize teacher_answers again"
        )
    return full
