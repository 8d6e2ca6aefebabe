"""The plan of a partition's answers: which question has which key, and who asks for what is missing."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

import polars as pl

from openthoughts_dagster.generation.estimate import Estimate, Rates, estimate, rates
from openthoughts_dagster.generation.ledger import missing_samples
from openthoughts_dagster.generation.model import Model
from openthoughts_dagster.generation.rendering import render_all
from openthoughts_dagster.generation.requests import completion_keys
from openthoughts_dagster.lake import ANSWER_PLANS, COMPLETIONS, DEDUPED_QUESTIONS, Lake
from openthoughts_dagster.recipe import Sharding, Teacher

_BATCH = 100_000  # questions whose texts are in memory at once


@dataclass(frozen=True)
class AnswerPlan:
    """Rows of answer_plans, the number of shards, and what they are expected to take. `planned_at` is UTC."""

    rows: pl.DataFrame
    shards: int
    estimate: Estimate
    planned_at: datetime


def plan_answers(lake: Lake, model: Model, source: str, samples: int, length_score: str | None = None) -> AnswerPlan:
    """Key every kept question of `source` and deal those with missing answers to shards. Starts no engine.

    Longest expected answers first, so that no shard ends with one long trace on an idle accelerator: expected is what
    the question's own answers were long; or else the source's mean, scaled by the question's `length_score` (a score
    of method response_length) where there is one; then the longer question. Ties go by question_id.
    """
    teacher = model.reference
    assert isinstance(teacher, Teacher)
    planned_at = datetime.now(UTC)
    questions = pl.concat(
        [pl.DataFrame(schema=_QUESTION_SCHEMA), *_keyed(lake, model, source, length_score)], how="vertical"
    )
    wanted = pl.Series([list(range(samples))], dtype=pl.List(pl.Int32)).new_from_index(0, questions.height)
    missing = missing_samples(lake, model, questions["key"], wanted).list.len().cast(pl.Int64)
    known = rates(lake, model, teacher.sampling, source)
    expected = (
        _expected(lake, model, questions, known) if (missing > 0).any() else pl.lit(float(known.completion_tokens))
    )
    # Two questions of one text have one key: it is asked once.
    asked = (missing > 0) & questions["key"].is_first_distinct()
    table = questions.select("question_id", "key", "characters").with_columns(
        expected_tokens=expected, missing=missing * asked
    )
    ordered = table.sort("expected_tokens", "characters", "question_id", descending=[True, True, False])
    todo = ordered.filter(pl.col("missing") > 0)
    tokens = float((todo["expected_tokens"] * todo["missing"]).sum())
    shards = _shards(teacher.shards, tokens, known, todo.height)
    rows = ordered.with_columns(
        pl.when(pl.col("missing") > 0)
        .then((pl.col("missing") > 0).cum_sum() % max(1, shards))
        .alias("shard")
        .cast(pl.Int32),
        position=pl.int_range(pl.len(), dtype=pl.Int32),
        source=pl.lit(source),
        teacher=pl.lit(teacher.name),
    ).select(list(ANSWER_PLANS.columns))
    completions = int(todo["missing"].sum())
    characters = float((todo["characters"] * todo["missing"]).sum())
    reused = questions["key"].n_unique() * samples - completions
    return AnswerPlan(rows, shards, estimate(model, known, completions, reused, tokens, characters), planned_at)


_QUESTION_SCHEMA = pl.Schema({"question_id": pl.String, "key": pl.String, "characters": pl.Int64, "weight": pl.Float64})


def _keyed(lake: Lake, model: Model, source: str, length_score: str | None) -> Iterator[pl.DataFrame]:
    sampling = model.reference.sampling
    scan = lake.scan(DEDUPED_QUESTIONS, source=source).select("question_id", "question", "scores")
    for batch in scan.collect_batches(chunk_size=_BATCH):
        prompts = render_all(model, batch["question"].to_list())
        yield batch.select(
            "question_id",
            key=pl.Series(completion_keys(model.identity, prompts, sampling), dtype=pl.String),
            characters=pl.col("question").str.len_chars().cast(pl.Int64),
            weight=pl.lit(None, dtype=pl.Float64)
            if length_score is None
            else pl.col("scores").str.json_path_match(f"$['{length_score}']").cast(pl.Float64, strict=False),
        )


def _expected(lake: Lake, model: Model, questions: pl.DataFrame, known: Rates) -> pl.Series:
    """Expected tokens of one answer to each question."""
    own = (
        lake.scan(COMPLETIONS, model=model.identity.partition)
        .filter(pl.col("error").is_null())
        .select("key", "completion_tokens")
        .join(questions.lazy().select("key").unique(), on="key", how="semi")
        .group_by("key")
        .agg(own=pl.col("completion_tokens").mean())
        .collect(engine="streaming")
    )
    scaled = known.completion_tokens * pl.col("weight") / pl.col("weight").mean()
    joined = questions.select("key", "weight").join(own, on="key", how="left", maintain_order="left")
    return joined.select(expected=pl.coalesce("own", scaled, pl.lit(float(known.completion_tokens))))["expected"]


def _shards(sharding: Sharding, tokens: float, known: Rates, questions: int) -> int:
    """As many shards as the targets ask for, but not more than questions; none when nothing is missing."""
    wanted = 1.0
    if sharding.tokens:
        wanted = max(wanted, tokens / sharding.tokens)
    if sharding.minutes and known.tokens_per_second:
        wanted = max(wanted, tokens / known.tokens_per_second / 60 / sharding.minutes)
    return min(math.ceil(wanted), sharding.most, questions)
