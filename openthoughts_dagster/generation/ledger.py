"""The ledger of completions, read: which samples are there, and what they say."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import polars as pl

from openthoughts_dagster.generation.lower_caps import LOWER_CAP, rows_of_lower_caps
from openthoughts_dagster.generation.model import Model
from openthoughts_dagster.generation.requests import Answer
from openthoughts_dagster.lake import COMPLETIONS, Lake
from openthoughts_dagster.recipe import Sampling


def missing_samples(
    lake: Lake,
    model: Model,
    keys: pl.Series,
    samples: pl.Series,
    sampling: Sampling | None = None,
    schemas: Sequence[dict[str, Any] | None] = (None,),
    retry_refused_before: datetime | None = None,
) -> pl.Series:
    """For each key the sample indexes that are wanted and not settled yet: a list column as long as `keys`.

    A sample is settled when it has an answer, also one that was finished under a lower `max_tokens`, or a failure that
    asking again cannot help. Reads only the ledger's key columns; prompts too where a cap was raised.

    Args:
        lake: The tables.
        model: Whose completions are wanted.
        keys: Keys of completions.
        samples: The wanted indexes of each key, as lists.
        sampling: What the keys were made with; the model's own where it is None.
        schemas: The JSON schemas that the keys were made with.
        retry_refused_before: Permanent failures from before this moment, UTC, are wanted again, as a person may ask.
            Those that came later are not, so that work that goes on after a crash asks none of them twice.
    """
    rows = ledger_rows(lake, model, sampling, schemas)
    refused = _refused(rows, model.reference.max_model_len)
    if retry_refused_before is not None:
        refused = refused.filter(pl.col("created_at") >= retry_refused_before)
    settled_rows = [rows.filter(pl.col("error").is_null()), refused]
    wanted = pl.DataFrame({"key": keys, "wanted": samples.cast(pl.List(pl.Int32))})
    settled = (
        pl.concat([part.select("key", "sample_index") for part in settled_rows])
        .join(wanted.lazy().select("key").unique(), on="key", how="semi")
        .group_by("key")
        .agg(settled=pl.col("sample_index"))
        .collect(engine="streaming")
    )
    joined = wanted.join(settled, on="key", how="left", maintain_order="left")
    lacking = pl.col("wanted").list.set_difference("settled")
    return joined.select(missing=pl.when(pl.col("settled").is_null()).then("wanted").otherwise(lacking))["missing"]


def ledger_rows(
    lake: Lake, model: Model, sampling: Sampling | None = None, schemas: Sequence[dict[str, Any] | None] = (None,)
) -> pl.LazyFrame:
    """The model's rows of the ledger, and once more under today's key those that a lower `max_tokens` did not cut off.

    The column `LOWER_CAP` marks the latter: an answer under the key itself comes before them.
    """
    rows = lake.scan(COMPLETIONS, model=model.identity.partition).with_columns(pl.lit(False).alias(LOWER_CAP))
    lower = rows_of_lower_caps(rows, model.identity, sampling or model.reference.sampling, schemas)
    return rows if lower is None else pl.concat([rows, lower])


def _refused(rows: pl.LazyFrame, longest: int | None) -> pl.LazyFrame:
    """Permanent failures. A model that takes longer prompts than it did may take what was too long for it."""
    refused = rows.filter("permanent", pl.col("error").is_not_null())
    if longest is None:
        return refused
    took = pl.col("engine").str.json_path_match("$.max_model_len").cast(pl.Int64, strict=False)
    return refused.filter(took.is_null() | (took >= longest))


def chosen_completions(
    lake: Lake,
    model: Model,
    keys: pl.Series,
    columns: Sequence[str],
    sampling: Sampling | None = None,
    schemas: Sequence[dict[str, Any] | None] = (None,),
) -> pl.LazyFrame:
    """One row of the ledger for every key and sample index that was ever asked: the one that counts.

    Columns key, sample_index, error and `columns`. What counts is the first answer, or else the first permanent
    failure, or else the latest failure: a sample that two shards asked for at once is read once.
    """
    age = pl.col("created_at").dt.epoch("us")
    needed = ["key", "sample_index", "error", "permanent", "created_at", "completion_id", LOWER_CAP, *columns]
    return (
        ledger_rows(lake, model, sampling, schemas)
        .select(list(dict.fromkeys(needed)))
        .join(pl.LazyFrame({"key": keys.unique()}), on="key", how="semi")
        .sort(
            pl.col("error").is_not_null(),
            LOWER_CAP,
            ~pl.col("permanent"),
            pl.when(pl.col("error").is_null() | pl.col("permanent")).then(age).otherwise(-age),
            "completion_id",
        )
        .unique(["key", "sample_index"], keep="first", maintain_order=True)
        .select(list(dict.fromkeys(["key", "sample_index", "error", *columns])))
    )


def read_answers(
    lake: Lake,
    model: Model,
    keys: Sequence[str],
    sampling: Sampling | None = None,
    schemas: Sequence[dict[str, Any] | None] = (None,),
) -> dict[tuple[str, int], Answer]:
    """The answers of `keys` by key and sample index, with their texts. A sample that only failed has its error."""
    wanted = pl.Series(keys, dtype=pl.String)
    chosen = chosen_completions(lake, model, wanted, ["completion_id"], sampling, schemas).collect()
    rows = (
        lake.scan(COMPLETIONS, model=model.identity.partition)
        .drop("key")  # a completion of a lower cap stands under its own
        .join(chosen.lazy().select("key", "completion_id"), on="completion_id", how="inner")
        .select(*Answer.__dataclass_fields__)
        .collect()
    )
    return {(row["key"], row["sample_index"]): Answer(**row) for row in rows.iter_rows(named=True)}
