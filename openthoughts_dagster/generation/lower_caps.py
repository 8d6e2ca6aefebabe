"""Reuses completions that a lower `max_tokens` did not cut off, so that a higher one does not pay for them again.

The cap is part of a completion's key. A completion that the model ended itself under a lower cap is what it would have
written under a higher one, so it counts; one that was cut off is asked again. This favours short answers a little: the
second attempt of a sample that was cut off may be shorter.
"""

from collections.abc import Sequence
from typing import Any

import polars as pl
from pydantic import ValidationError

from openthoughts_dagster.generation.requests import FINISHED, ModelIdentity, completion_keys
from openthoughts_dagster.recipe import Sampling

LOWER_CAP = "of_lower_cap"
"""A column that marks rows of the ledger under the key of a higher cap than they were asked with."""


def rows_of_lower_caps(
    rows: pl.LazyFrame, identity: ModelIdentity, sampling: Sampling, schemas: Sequence[dict[str, Any] | None]
) -> pl.LazyFrame | None:
    """Return finished rows whose sampling differs from `sampling` only by a lower cap, under the keys of `sampling`.

    Args:
        rows: One model's rows of the ledger.
        identity: The model.
        sampling: How completions are wanted now.
        schemas: The JSON schemas that they may have been asked with: a schema is part of the key, but not of the row.

    Returns:
        Rows of the same columns; None if no cap was raised.
    """
    lower = [
        text
        for text in rows.select("sampling").unique().collect(engine="streaming")["sampling"]
        if _has_lower_cap(text, sampling)
    ]
    if not lower or not schemas:
        return None
    finished = rows.filter(
        pl.col("sampling").is_in(lower), pl.col("error").is_null(), pl.col("finish_reason").is_in(list(FINISHED))
    )
    asked = finished.group_by("key").agg(pl.col("prompt", "sampling").first()).collect(engine="streaming")
    keys: list[pl.DataFrame] = []
    for (text,), group in asked.partition_by("sampling", as_dict=True).items():
        prompts, asked_with = group["prompt"].to_list(), Sampling.model_validate_json(str(text))
        for schema in schemas:
            own = completion_keys(identity, prompts, asked_with, schema)
            today = completion_keys(identity, prompts, sampling, schema)
            pairs = pl.DataFrame({"key": own, "today": today}, schema={"key": pl.String, "today": pl.String})
            keys.append(pairs.join(group.select("key"), on="key", how="semi"))
    names = pl.concat(keys).unique("key")
    columns = rows.collect_schema().names()
    return (
        finished.join(names.lazy(), on="key", how="inner")
        .with_columns(key="today", **{LOWER_CAP: pl.lit(True)})
        .select(columns)
    )


def _has_lower_cap(text: str, sampling: Sampling) -> bool:
    """Return whether a row's sampling differs from `sampling` only by a lower cap."""
    try:
        asked_with = Sampling.model_validate_json(text)
    except ValidationError:  # the row is of a version with other settings
        return False
    raised = asked_with.model_copy(update={"max_tokens": sampling.max_tokens})
    return asked_with.max_tokens < sampling.max_tokens and raised == sampling
