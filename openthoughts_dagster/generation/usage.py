"""The usage of models: counted during generation, or summed from the ledger."""

from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime

import polars as pl

from openthoughts_dagster.generation.requests import FINISHED, Completion
from openthoughts_dagster.lake import ARM_ANSWERS, COMPLETIONS, GENERATION_COSTS, TEACHER_ANSWERS, Lake

# The ledger's `outcome` if the reasoning was never closed or the answer was cut off.
_TRUNCATED = pl.col("outcome") == "unfinished"
# Rows of earlier versions do not say whose partition asked; a teacher that was asked for answers is one itself.
_TEACHER = (
    pl.when(pl.col("teacher") != "")
    .then("teacher")
    .when(pl.col("asset").is_in([TEACHER_ANSWERS.name, ARM_ANSWERS.name]))
    .then("asked_as")
)


@dataclass
class Usage:
    """Completions, tokens, engine time and money of a generation.

    Args:
        generated: Completions with an answer.
        reused: Completions that the ledger had already.
        failed: Completions that ended in an error.
        truncated: Answers that max_tokens or a guard cut off, or whose reasoning was never closed.
        retries: Attempts beyond the first.
        prompt_tokens: Tokens of the prompts.
        cached_tokens: Tokens of the prompts that engines had in their cache.
        completion_tokens: Tokens of reasoning and answers.
        engine_seconds: Seconds for which engines ran.
        costs: Money by currency, such as USD; models of one asset may have prices in several.
        finish_reasons: Number of completions by finish reason.
    """

    generated: int = 0
    reused: int = 0
    failed: int = 0
    truncated: int = 0
    retries: int = 0
    prompt_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0
    engine_seconds: float = 0.0
    costs: Counter[str] = field(default_factory=Counter)
    finish_reasons: Counter[str] = field(default_factory=Counter)

    def add(self, other: "Usage") -> None:
        """Add the usage of another generation."""
        for name in self.__dataclass_fields__:
            setattr(self, name, getattr(self, name) + getattr(other, name))

    def count(self, completion: Completion) -> None:
        """Count one completion that an engine returned."""
        if completion.error is None:
            self.generated += 1
        else:
            self.failed += 1
        self.retries += completion.retries
        self.prompt_tokens += completion.prompt_tokens
        self.cached_tokens += completion.cached_tokens
        self.completion_tokens += completion.new_tokens
        self.truncated += completion.error is None and completion.finish_reason not in FINISHED
        self.finish_reasons[completion.finish_reason] += 1

    @property
    def tokens_per_second(self) -> float:
        """The completion tokens per second of engine time."""
        return self.completion_tokens / self.engine_seconds if self.engine_seconds else 0.0

    @property
    def truncation_rate(self) -> float:
        """The share of the generated answers that are cut off."""
        return self.truncated / self.generated if self.generated else 0.0


def sum_usage_since(lake: Lake, since: datetime, asset: str, source: str, asked_as: str) -> Usage:
    """Sum what was spent for one partition since a time, including by processes that died, from the ledger."""
    rows = lake.scan(COMPLETIONS).filter(
        pl.col("created_at") >= since,
        pl.col("asset") == asset,
        pl.col("source") == source,
        pl.col("asked_as") == asked_as,
    )
    row = rows.select(*_SUMS).collect().row(0, named=True)
    costs = rows.group_by("currency").agg(pl.col("cost").sum().round(9)).collect()
    reasons = rows.group_by("finish_reason").len().collect()
    return Usage(
        generated=row["completions"] - row["failed"],
        failed=row["failed"],
        truncated=row["truncated"],
        retries=row["retries"],
        prompt_tokens=row["prompt_tokens"],
        cached_tokens=row["cached_tokens"],
        completion_tokens=row["completion_tokens"],
        engine_seconds=row["engine_seconds"],
        costs=Counter(dict(costs.iter_rows())),
        finish_reasons=Counter(dict(reasons.iter_rows())),
    )


def sum_generation_costs(lake: Lake) -> pl.DataFrame:
    """Sum the whole ledger by day, asset, source, teacher and model, as rows of generation_costs. Reads no texts."""
    return (
        lake.scan(COMPLETIONS)
        .drop("model")
        .with_columns(day=pl.col("created_at").dt.date(), model="asked_as", teacher=_TEACHER)
        .group_by("day", "asset", "source", "teacher", "model", "currency")
        .agg(*_SUMS)
        .sort("day", "asset", "source", "teacher", "model")
        .select(list(GENERATION_COSTS.columns))
        .collect(engine="streaming")
    )


_SUMS = (
    pl.len().cast(pl.Int64).alias("completions"),
    pl.col("error").is_not_null().sum().cast(pl.Int64).alias("failed"),
    _TRUNCATED.sum().cast(pl.Int64).alias("truncated"),
    *(pl.col(name).cast(pl.Int64).sum() for name in ("retries", "prompt_tokens", "cached_tokens", "completion_tokens")),
    # rounded, because sums of floats differ in their last digits from scan to scan
    pl.col("engine_seconds").sum().round(3),
    pl.col("cost").sum().round(9),
)
