"""Reads the ledger of completions: which samples it has, and their texts."""

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any

import polars as pl

from openthoughts_dagster.generation.lower_caps import LOWER_CAP, continue_cut_texts, lower_caps, rows_of_lower_caps
from openthoughts_dagster.generation.model import Model
from openthoughts_dagster.generation.requests import Answer, Request
from openthoughts_dagster.lake import COMPLETIONS, Lake
from openthoughts_dagster.recipe import Sampling


def find_missing_samples(
    lake: Lake,
    model: Model,
    keys: pl.Series,
    samples: pl.Series,
    sampling: Sampling | None = None,
    schemas: Sequence[dict[str, Any] | None] = (None,),
    retry_refused_before: datetime | None = None,
) -> pl.Series:
    """Return for each key the wanted sample indexes that are not settled yet.

    A sample is settled if it has an answer, which may have been finished under a lower `max_tokens`, or a permanent
    failure. This reads only the key columns of the ledger, and also the prompts if `max_tokens` was raised.

    Args:
        lake: The tables.
        model: Whose completions are wanted.
        keys: Keys of completions.
        samples: The wanted indexes of each key, as lists.
        sampling: What the keys were made with; the model's own where it is None.
        schemas: The JSON schemas that the keys were made with.
        retry_refused_before: Permanent failures from before this time, UTC, are wanted again. Later ones are not, so
            that work that goes on after a crash does not ask them twice.

    Returns:
        Lists of Int32, as many as `keys`.
    """
    rows = ledger_rows(lake, model, sampling, schemas)
    refused = _select_refused(rows, model.reference.max_model_len)
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
    """Return a model's rows of the ledger, and rows finished under a lower `max_tokens` again under the current key.

    The column `LOWER_CAP` marks the latter; an answer under the key itself takes precedence over them.
    """
    rows = lake.scan(COMPLETIONS, model=model.identity.partition).with_columns(pl.lit(False).alias(LOWER_CAP))
    lower = rows_of_lower_caps(rows, model.identity, sampling or model.reference.sampling, schemas)
    return rows if lower is None else pl.concat([rows, lower])


def continue_pages(lake: Lake, model: Model, pages: Iterator[Sequence[Request]]) -> Iterator[Sequence[Request]]:
    """Yield pages of requests, each request with the text that a lower `max_tokens` cut off.

    Requests to a server that renders the prompt itself are as they were, because it could not continue a text.
    """
    lower: dict[Sampling, list[str]] = {}
    for page in pages:
        rows = lake.scan(COMPLETIONS, model=model.identity.partition)
        if page and page[0].sampling not in lower:
            lower[page[0].sampling] = lower_caps(rows, page[0].sampling)
        found = lower[page[0].sampling] if page else []
        yield continue_cut_texts(rows, model.identity, found, page) if found and model.tokenizer() is not None else page


def _select_refused(rows: pl.LazyFrame, longest: int | None) -> pl.LazyFrame:
    """Select permanent failures, without prompts that were too long for the model and are not any more."""
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
    """Choose one row of the ledger for every key and sample index.

    The row is the first answer, or otherwise the first permanent failure, or otherwise the latest failure. A sample
    that two shards asked for at once therefore counts once.

    Returns:
        Columns key, sample_index, error and `columns`.
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


def count_served_models(lake: Lake, partition: str, completion_ids: pl.Series) -> pl.DataFrame:
    """Count completions by the name that their server gave its model; a server may change what is behind our name.

    Returns:
        Columns served_model and answers, the most frequent first; no rows if the server gave no names.
    """
    return (
        lake.scan(COMPLETIONS, model=partition)
        .select("completion_id", "engine")
        .join(pl.LazyFrame({"completion_id": completion_ids}), on="completion_id", how="semi")
        .group_by("engine")
        .agg(answers=pl.len())
        .group_by(served_model=pl.col("engine").str.json_path_match("$.served_model"))
        .agg(pl.col("answers").sum())
        .drop_nulls("served_model")
        .sort("answers", "served_model", descending=[True, False])
        .collect(engine="streaming")
    )


def read_answers(
    lake: Lake,
    model: Model,
    keys: Sequence[str],
    sampling: Sampling | None = None,
    schemas: Sequence[dict[str, Any] | None] = (None,),
) -> dict[tuple[str, int], Answer]:
    """Return the answers of `keys` with their texts, by key and sample index; a failed sample has its error."""
    wanted = pl.Series(keys, dtype=pl.String)
    chosen = chosen_completions(lake, model, wanted, ["completion_id"], sampling, schemas).collect()
    rows = (
        lake.scan(COMPLETIONS, model=model.identity.partition)
        .drop("key")  # a completion of a lower cap is stored under its own key
        .join(chosen.lazy().select("key", "completion_id"), on="completion_id", how="inner")
        .select(*Answer.__dataclass_fields__)
        .collect()
    )
    return {(row["key"], row["sample_index"]): Answer(**row) for row in rows.iter_rows(named=True)}
