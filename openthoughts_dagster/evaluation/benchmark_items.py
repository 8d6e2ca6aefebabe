"""Every answer to every benchmark item with its texts, joined lazily from the scores and the ledger."""

from collections.abc import Mapping
from typing import Any

import polars as pl

from openthoughts_dagster.generation.requests import sample_seed
from openthoughts_dagster.lake import COMPLETIONS, Lake, Table

ITEM_KEY = ("benchmark", "metric", "item")
_SAMPLE = pl.Struct({"completion_id": pl.String, "extracted": pl.String, "score": pl.Float64, "lost": pl.String})
_TEXTS = ("completion_id", "key", "sample_index", "prompt", "reasoning", "answer", "finish_reason", "error")
_NUMBERS = ("prompt_tokens", "completion_tokens", "created_at")
_UNKNOWN = "unknown"
VERDICTS = ("right", "partly", "wrong", "failed", _UNKNOWN)
"""The verdicts of a sample. `unknown`: only the mean over the item's samples is known."""


def benchmark_items(lake: Lake, scores: Table, **partition: str) -> pl.LazyFrame:
    """Read every answer of one student to every benchmark item, with its texts.

    Nothing is copied: the scores name completions, and the ledger has the texts.

    Args:
        lake: The tables.
        scores: The table of the student's scores, such as `BENCHMARK_SCORES` or `ARM_SCORES`.
        **partition: The partition of the student, such as `source="gsm8k", teacher="qwq-32b"`.

    Returns:
        A row for each item and repeat, in the order of the benchmark: benchmark, metric, item, position, repeat, seed
        (of the sampling), prompt (as the chat template rendered it), reasoning, answer, extracted (what was read as the
        answer), reference, verdict (one of `VERDICTS`), score (of this sample, from 0 to 1), item_score (the mean over
        the item's repeats), finish_reason, error (why the request failed or the program could not be run),
        prompt_tokens, completion_tokens, completion_id, model and created_at. Rows that earlier versions wrote name no
        completions: they have one row for each item, whose texts are null.

    Example:
        >>> benchmark_items(lake, BENCHMARK_SCORES, source="gsm8k", teacher="qwq-32b").filter(verdict="wrong").collect()
    """
    rows = lake.scan(scores, **partition).select(
        *ITEM_KEY, "position", "reference", "model", "samples", "repeats", item_score="score"
    )
    models = rows.select(pl.col("model").unique()).collect()["model"].drop_nulls().implode()
    samples = pl.col("samples").str.json_decode(pl.List(_SAMPLE))
    each = (
        rows.with_columns(sample=samples)
        .with_columns(repeat=pl.int_ranges(0, pl.col("sample").list.len(), dtype=pl.Int32))
        .explode("sample", "repeat")
        .drop("samples")
        .unnest("sample")
    )
    texts = lake.scan(COMPLETIONS).filter(pl.col("model").is_in(models)).select(*_TEXTS, *_NUMBERS)
    return (
        each.join(texts, on="completion_id", how="left")
        .with_columns(
            score=pl.coalesce("score", pl.when(pl.col("repeats") == 1, pl.col("lost").is_null()).then("item_score")),
            error=pl.coalesce("error", "lost"),
        )
        .with_columns(verdict=_verdict(), seed=_seed())
        .select(
            *(*ITEM_KEY, "position", "repeat", "seed", "prompt", "reasoning", "answer", "extracted", "reference"),
            *("verdict", "score", "item_score", "finish_reason", "error", "prompt_tokens", "completion_tokens"),
            *("completion_id", "model", "created_at"),
        )
        .sort("benchmark", "position", "item", "repeat", maintain_order=True)
    )


def example_items(lake: Lake, scores: Table, partition: Mapping[str, str], count: int = 2) -> pl.DataFrame:
    """Read a few right and a few wrong answers of one student, the first items of each benchmark.

    Args:
        lake: The tables.
        scores: The table of the student's scores.
        partition: The partition of the student.
        count: The number of right and of wrong answers for each benchmark.

    Returns:
        Columns benchmark, verdict, prompt, answer, extracted and reference; empty for rows of earlier versions.
    """
    rows = benchmark_items(lake, scores, **partition).filter(pl.col("answer").is_not_null())
    shown = rows.select("benchmark", "verdict", "prompt", "answer", "extracted", "reference").collect()
    return (
        shown.group_by("benchmark", "verdict", maintain_order=True).head(count).sort("benchmark", maintain_order=True)
    )


def compare_items(first: pl.DataFrame, second: pl.DataFrame) -> pl.DataFrame:
    """Put the answers of two students to the same items side by side.

    Args:
        first: Rows of `benchmark_items` of one student.
        second: Those of the other.

    Returns:
        A row for each item that both answered: benchmark, metric, item, position, reference, solved (`first` or
        `second` where one has the higher score, `both` or `neither` where the scores are equal), first_score,
        second_score, prompt, and for each of the two its reasoning, answer, extracted, finish_reason, error and
        completion_id of one sample: a right one of the student with the higher score, and a wrong one of the other.
    """
    key = list(ITEM_KEY)
    means = [rows.group_by(key).agg(pl.col("item_score").first()) for rows in (first, second)]
    both = means[0].join(means[1], on=key, suffix="_second").rename({"item_score": "first_score"})
    both = both.rename({"item_score_second": "second_score"}).with_columns(solved=_solved())
    sides = []
    for name, rows in (("first", first), ("second", second)):
        ahead = rows.join(both.select(*key, "solved"), on=key).with_columns(
            better=pl.when(pl.col("solved").is_in([name, "both"])).then(-pl.col("score")).otherwise("score")
        )
        one = ahead.sort(*key, "better", "repeat", nulls_last=True).unique(key, keep="first", maintain_order=True)
        shown = ("reasoning", "answer", "extracted", "finish_reason", "error", "completion_id")
        sides.append(one.select(*key, "position", "reference", "prompt", **{f"{name}_{c}": pl.col(c) for c in shown}))
    joined = both.join(sides[0], on=key).join(sides[1], on=key, suffix="_of_second")
    joined = joined.with_columns(pl.coalesce(c, f"{c}_of_second") for c in ("position", "reference", "prompt"))
    columns = [name for name in joined.columns if not name.endswith("_of_second")]
    order = pl.col("solved").replace_strict({"first": 0, "second": 1, "neither": 2, "both": 3})
    return joined.select(columns).sort("benchmark", order, "position", "item")


def _solved() -> pl.Expr:
    return (
        pl.when(pl.col("first_score") > pl.col("second_score"))
        .then(pl.lit("first"))
        .when(pl.col("first_score") < pl.col("second_score"))
        .then(pl.lit("second"))
        .when(pl.col("first_score") > 0)
        .then(pl.lit("both"))
        .otherwise(pl.lit("neither"))
    )


def _verdict() -> pl.Expr:
    return (
        pl.when(pl.col("error").is_not_null())
        .then(pl.lit("failed"))
        .when(pl.col("score").is_null())
        .then(pl.lit(_UNKNOWN))
        .when(pl.col("score") >= 1)
        .then(pl.lit("right"))
        .when(pl.col("score") > 0)
        .then(pl.lit("partly"))
        .otherwise(pl.lit("wrong"))
    )


def _seed() -> pl.Expr:
    """Return the seed with which a sample was drawn, which `Request.seed` derives from its key and index."""
    return pl.struct("key", "sample_index").map_elements(_seed_of, return_dtype=pl.Int64, skip_nulls=False)


def _seed_of(sample: dict[str, Any]) -> int | None:
    if sample["key"] is None:
        return None
    return sample_seed(sample["key"], sample["sample_index"])
