"""Reuses completions that a lower `max_tokens` did not cut off, so that a higher one does not pay for them again.

The cap is part of a completion's key. A completion that the model ended itself under a lower cap is what it would have
written under a higher one, so it counts. One that was cut off is continued from its text where we render the prompt,
and is asked again elsewhere. Asking again favours short answers a little: the second attempt may be shorter.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import polars as pl
from pydantic import ValidationError

from openthoughts_dagster.generation.reasoning import OPEN, join_reasoning, opens_reasoning
from openthoughts_dagster.generation.requests import FINISHED, ModelIdentity, Request, completion_keys
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
    lower = lower_caps(rows, sampling)
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
    if not keys:  # the lower cap cut everything off
        return None
    names = pl.concat(keys).unique("key")
    columns = rows.collect_schema().names()
    return (
        finished.join(names.lazy(), on="key", how="inner")
        .with_columns(key="today", **{LOWER_CAP: pl.lit(True)})
        .select(columns)
    )


def lower_caps(rows: pl.LazyFrame, sampling: Sampling) -> list[str]:
    """Return those of the rows' sampling settings, as JSON, that differ from `sampling` only by a lower cap."""
    found = rows.select("sampling").unique().collect(engine="streaming")["sampling"]
    return [text for text in found if _has_lower_cap(text, sampling)]


def continue_cut_texts(
    rows: pl.LazyFrame, identity: ModelIdentity, lower: Sequence[str], requests: Sequence[Request]
) -> list[Request]:
    """Give each request the text that a lower cap cut off, if there is one.

    A text that a JSON schema or a thinking budget bound is not continued: the engine could not know how far it was.

    Args:
        rows: One model's rows of the ledger.
        identity: The model.
        lower: The settings of `lower_caps`.
        requests: Requests of one sampling.

    Returns:
        The requests in their order.
    """
    free = [one for one in requests if one.json_schema is None and one.sampling.thinking_budget is None]
    prompts = list({one.prompt for one in free})
    if not lower or not prompts:
        return list(requests)
    asked = pl.concat(
        pl.DataFrame({"key": completion_keys(identity, prompts, caps), "cap": [caps.max_tokens] * len(prompts)})
        for caps in map(Sampling.model_validate_json, lower)
    )
    cut = (
        rows.filter(pl.col("error").is_null(), pl.col("finish_reason") == "length")
        .join(asked.lazy(), on="key", how="inner")
        .filter(pl.col("completion_tokens") >= pl.col("cap"))  # others filled the model's longest sequence
        .select("prompt", "sample_index", "reasoning", "answer", "completion_tokens")
        .sort("completion_tokens")
        .collect()
    )
    texts = {
        (prompt, index): _written_text(prompt, reasoning, answer)
        for prompt, index, reasoning, answer, _ in cut.iter_rows()
    }
    named = {(one.key, one.sample_index) for one in free}
    return [
        replace(one, written=texts.get((one.prompt, one.sample_index), ""))
        if (one.key, one.sample_index) in named
        else one
        for one in requests
    ]


def _written_text(prompt: str, reasoning: str | None, answer: str) -> str:
    """Return the text that a model wrote, up to its last whole letter."""
    text = join_reasoning(reasoning, answer)
    if reasoning is not None and opens_reasoning(prompt):
        text = text.removeprefix(OPEN)
    return text.rstrip("\ufffd")  # half of a letter was cut off


def _has_lower_cap(text: str, sampling: Sampling) -> bool:
    """Return whether a row's sampling differs from `sampling` only by a lower cap."""
    try:
        asked_with = Sampling.model_validate_json(text)
    except ValidationError:  # the row is of a version with other settings
        return False
    raised = asked_with.model_copy(update={"max_tokens": sampling.max_tokens})
    return asked_with.max_tokens < sampling.max_tokens and raised == sampling
