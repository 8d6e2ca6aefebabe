"""The ledger of completions, read: which samples are there, and what they say."""

from collections.abc import Sequence

import polars as pl

from openthoughts_dagster.generation.model import Model
from openthoughts_dagster.generation.requests import Answer
from openthoughts_dagster.lake import COMPLETIONS, Lake


def missing_samples(lake: Lake, model: Model, keys: pl.Series, samples: pl.Series) -> pl.Series:
    """For each key the sample indexes that are wanted and not settled yet: a list column as long as `keys`.

    A sample is settled when it has an answer, or a failure that asking again cannot help. `samples` holds the wanted
    indexes of each key as lists. Reads only the ledger's key columns, never a text.
    """
    rows = lake.scan(COMPLETIONS, model=model.identity.partition)
    settled_rows = [rows.filter(pl.col("error").is_null()), _refused(rows, model.reference.max_model_len)]
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


def _refused(rows: pl.LazyFrame, longest: int | None) -> pl.LazyFrame:
    """Permanent failures. A model that takes longer prompts than it did may take what was too long for it."""
    refused = rows.filter("permanent", pl.col("error").is_not_null())
    if longest is None:
        return refused
    took = pl.col("engine").str.json_path_match("$.max_model_len").cast(pl.Int64, strict=False)
    return refused.filter(took.is_null() | (took >= longest))


def chosen_completions(lake: Lake, model: Model, keys: pl.Series, columns: Sequence[str]) -> pl.LazyFrame:
    """One row of the ledger for every key and sample index that was ever asked: the one that counts.

    Columns key, sample_index, error and `columns`. What counts is the first answer, or else the first permanent
    failure, or else the latest failure: a sample that two shards asked for at once is read once.
    """
    age = pl.col("created_at").dt.epoch("us")
    return (
        lake.scan(COMPLETIONS, model=model.identity.partition)
        .select(
            list(dict.fromkeys(["key", "sample_index", "error", "permanent", "created_at", "completion_id", *columns]))
        )
        .join(pl.LazyFrame({"key": keys.unique()}), on="key", how="semi")
        .sort(
            pl.col("error").is_not_null(),
            ~pl.col("permanent"),
            pl.when(pl.col("error").is_null() | pl.col("permanent")).then(age).otherwise(-age),
            "completion_id",
        )
        .unique(["key", "sample_index"], keep="first", maintain_order=True)
        .select(list(dict.fromkeys(["key", "sample_index", "error", *columns])))
    )


def read_answers(lake: Lake, model: Model, keys: Sequence[str]) -> dict[tuple[str, int], Answer]:
    """The answers of `keys` by key and sample index, with their texts. A sample that only failed has its error."""
    chosen = chosen_completions(lake, model, pl.Series(keys, dtype=pl.String), ["completion_id"]).collect()
    rows = (
        lake.scan(COMPLETIONS, model=model.identity.partition)
        .join(chosen.lazy(), on="completion_id", how="semi")
        .select(*Answer.__dataclass_fields__)
        .collect()
    )
    return {(row["key"], row["sample_index"]): Answer(**row) for row in rows.iter_rows(named=True)}
