"""Plans an answer set: the key of each question, and the shard that asks for its missing answers."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

import polars as pl

from openthoughts_dagster.answers.answer_set import AnswerSet
from openthoughts_dagster.generation.estimate import CostEstimate, Rates, estimate, measure_rates
from openthoughts_dagster.generation.ledger import find_missing_samples
from openthoughts_dagster.generation.model import Model
from openthoughts_dagster.generation.rendering import render_all
from openthoughts_dagster.generation.requests import completion_keys
from openthoughts_dagster.lake import COMPLETIONS, Lake, read_slices
from openthoughts_dagster.recipe import ModelReference, Sharding, Teacher

_BATCH = 100_000  # questions whose texts are in memory at the same time
_QUESTIONS = pl.Schema(
    {"source": pl.String, "question_id": pl.String, "key": pl.String, "characters": pl.Int64, "weight": pl.Float64}
)


@dataclass(frozen=True)
class AnswerPlan:
    """The plan of an answer set, with the missing answers and their estimated cost.

    Args:
        rows: A row for each question, as the set's table of plans has it without the columns of its partition.
        shards: The number of shards of the missing answers; 0 if nothing is missing.
        estimate: Completions, tokens, hours and money of the missing answers.
        planned_at: When the ledger was read, UTC.
        moved: How many of the missing answers are to questions that are answered already: the model, its prompt, its
            sampling or the number of samples changed since.
    """

    rows: pl.DataFrame
    shards: int
    estimate: CostEstimate
    planned_at: datetime
    moved: int = 0


def plan_answers(
    lake: Lake,
    model: Model,
    answers: AnswerSet,
    length_score: str | None = None,
    retry_refused_before: datetime | None = None,
) -> AnswerPlan:
    """Key every question of `answers` and split those with missing answers into shards. Starts no engine.

    The longest expected answers come first, so that no shard ends with one long trace on an idle accelerator. The
    expected length is that of the question's earlier answers, or otherwise the mean, scaled by the question's
    `length_score` if there is one. Of equal lengths the longer question comes first; ties go by question_id.

    If a text occurs twice among the questions, its second occurrence has its own samples: with k samples the first has
    those from 0 to k - 1 and the second those from k to 2k - 1, so that both get different answers.

    Args:
        lake: The tables.
        model: The model that answers, located; its weights are not needed.
        answers: The questions, with the number of samples of each.
        length_score: Name of a score of method response_length, or None.
        retry_refused_before: Permanent failures from before this moment are asked again; by default none are.

    Returns:
        The plan. `answers.replace(lake, answers.plans, plan.rows)` stores it for the shards.
    """
    sampling, samples = model.reference.sampling, answers.samples
    planned_at = datetime.now(UTC)
    questions = pl.concat([_QUESTIONS.to_frame(), *_make_keys(model, answers, length_score)], how="vertical")
    questions = questions.with_columns(first_sample=_count_earlier(questions) * samples)
    wanted = wanted_samples(questions["first_sample"], samples)
    missing = find_missing_samples(lake, model, questions["key"], wanted, retry_refused_before=retry_refused_before)
    missing_count = missing.list.len().cast(pl.Int64)
    known = measure_rates(lake, model, sampling, answers.label)
    expected = (
        _expect_tokens(lake, model, questions, known)
        if (missing_count > 0).any()
        else pl.lit(float(known.completion_tokens))
    )
    table = questions.drop("weight").with_columns(expected_tokens=expected, missing=missing_count)
    ordered = table.sort("expected_tokens", "characters", "question_id", descending=[True, True, False])
    todo = ordered.filter(pl.col("missing") > 0)
    tokens = float((todo["expected_tokens"] * todo["missing"]).sum())
    shards = _count_shards(_sharding(model.reference), tokens, known, todo.height)
    rows = ordered.select(
        "source",
        "question_id",
        "key",
        pl.when(pl.col("missing") > 0)
        .then((pl.col("missing") > 0).cum_sum() % max(1, shards))
        .alias("shard")
        .cast(pl.Int32),
        "expected_tokens",
        "first_sample",
        position=pl.int_range(pl.len(), dtype=pl.Int32),
    )
    completions = int(todo["missing"].sum())
    characters = float((todo["characters"] * todo["missing"]).sum())
    reused = questions.height * samples - completions
    expected_cost = estimate(model, known, completions, reused, tokens, characters)
    return AnswerPlan(rows, shards, expected_cost, planned_at, _count_moved(lake, answers, questions, missing))


def wanted_samples(first_samples: pl.Series, samples: int) -> pl.Series:
    """Return the sample indexes that are wanted for each question of a plan.

    Args:
        first_samples: Index of the first sample, a row for each question.
        samples: Answers for each question.

    Returns:
        A list of Int32 for each question: the first sample and the `samples` - 1 after it.
    """
    indexes = pl.int_ranges(pl.col("first_sample"), pl.col("first_sample") + samples, dtype=pl.Int32)
    return pl.DataFrame({"first_sample": first_samples}).select(wanted=indexes)["wanted"]


def _count_moved(lake: Lake, answers: AnswerSet, questions: pl.DataFrame, missing: pl.Series) -> int:
    """Count the missing answers to questions that are published already, as they were asked before or rejected."""
    row = ["source", "question_id"]
    published = pl.concat(
        answers.scan(lake, table).select(*row, "sample_index", "key") for table in (answers.answers, answers.rejected)
    )
    return int(
        questions.lazy()
        .select(*row, "key", sample_index=missing)
        .filter(pl.col("sample_index").list.len() > 0)
        .explode("sample_index")
        .join(published, on=row, how="semi")
        .join(published, on=[*row, "sample_index", "key"], how="anti")
        .select(pl.len())
        .collect()
        .item()
    )


def _count_earlier(questions: pl.DataFrame) -> pl.Series:
    """Count the questions of the same key before each question, in the order of their ids."""
    if questions["key"].n_unique() == questions.height:
        return pl.zeros(questions.height, dtype=pl.Int32, eager=True)
    rank = pl.col("question_id").rank("ordinal").over("key").cast(pl.Int32) - 1
    return questions.select(occurrence=rank)["occurrence"]


def _make_keys(model: Model, answers: AnswerSet, length_score: str | None) -> Iterator[pl.DataFrame]:
    sampling = model.reference.sampling
    for batch in read_slices(answers.questions, _BATCH):
        prompts = render_all(model, batch["question"].to_list())
        yield batch.select(
            "source",
            "question_id",
            key=pl.Series(completion_keys(model.identity, prompts, sampling), dtype=pl.String),
            characters=pl.col("question").str.len_chars().cast(pl.Int64),
            weight=pl.lit(None, dtype=pl.Float64)
            if length_score is None
            else pl.col("scores").str.json_path_match(f"$['{length_score}']").cast(pl.Float64, strict=False),
        )


def _expect_tokens(lake: Lake, model: Model, questions: pl.DataFrame, known: Rates) -> pl.Series:
    """Return the expected tokens of one answer to each question."""
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


def _sharding(reference: ModelReference) -> Sharding:
    return reference.shards if isinstance(reference, Teacher) else Sharding()


def _count_shards(sharding: Sharding, tokens: float, known: Rates, questions: int) -> int:
    """Return the number of shards: as the targets say, at most one per question, and 0 if nothing is missing."""
    wanted = 1.0
    if sharding.tokens:
        wanted = max(wanted, tokens / sharding.tokens)
    if sharding.minutes and known.tokens_per_second:
        wanted = max(wanted, tokens / known.tokens_per_second / 60 / sharding.minutes)
    return min(math.ceil(wanted), sharding.most, questions)
