"""The schema of every table, in one place. Writes that do not fit raise; nothing is coerced silently."""

from collections.abc import Mapping
from dataclasses import dataclass

import polars as pl

_TEXT = pl.String
_TIME = pl.Datetime("us", "UTC")


@dataclass(frozen=True)
class Table:
    """A Delta table: its columns, the columns that must not be null, and those that Delta partitions by."""

    name: str
    columns: Mapping[str, pl.DataType | type[pl.DataType]]
    partition_by: tuple[str, ...]
    nullable: frozenset[str] = frozenset()

    @property
    def schema(self) -> pl.Schema:
        """Polars schema of a full row."""
        return pl.Schema(self.columns)


_QUESTION = {
    "source": _TEXT,
    "question_id": _TEXT,  # content hash, stable across runs
    "domain": _TEXT,
    "question": _TEXT,
    "reference_answer": _TEXT,
    "licence": _TEXT,
    "origin": _TEXT,  # JSON: dataset or file, revision, row
    "metadata": _TEXT,  # JSON: whatever else the source says
}
_CELL = {"source": _TEXT, "teacher": _TEXT}

RAW_SOURCES = Table("raw_sources", _QUESTION, ("source",), frozenset({"reference_answer"}))
SCORED_QUESTIONS = Table(
    "scored_questions",
    # scores: JSON object of score name to number; null where the judge's reply could not be read
    _QUESTION | {"scores": _TEXT},
    ("source",),
    frozenset({"reference_answer"}),
)
DEDUPED_QUESTIONS = Table(
    "deduped_questions", _QUESTION | {"scores": _TEXT}, ("source",), frozenset({"reference_answer"})
)
REJECTED_QUESTIONS = Table(
    "rejected_questions",
    {
        "source": _TEXT,
        "stage": _TEXT,  # the asset that rejected it
        "question_id": _TEXT,  # null for rows that never became questions
        "question": _TEXT,
        "reason": _TEXT,  # one of a few slugs, to count by
        "evidence": _TEXT,  # what a person needs to agree or not: the match, the parse error, the row
        "origin": _TEXT,
    },
    ("stage", "source"),
    frozenset({"question_id", "question"}),
)
# The ledger. One row is one sample of one prompt as one engine returned it; rows are only ever added.
COMPLETIONS = Table(
    "completions",
    {
        "model": _TEXT,  # model id and revision, or local@revision for a folder
        "key": _TEXT,  # hash of model id and revision, rendered prompt, sampling
        "sample_index": pl.Int32,
        "completion_id": _TEXT,  # of this row alone: a sample that two shards asked for has two
        "content": _TEXT,  # hash of reasoning and answer: what data versions are made of
        "outcome": _TEXT,  # answered, unfinished, empty or failed: what a reader needs to know without the texts
        "prompt": _TEXT,  # as rendered by the chat template
        "reasoning": _TEXT,  # null when the model did not reason
        "answer": _TEXT,
        "finish_reason": _TEXT,  # one of generation.requests.FINISH_REASONS
        "error": _TEXT,  # null when there is an answer
        "permanent": pl.Boolean,  # of a failure: asking the same again cannot help
        "retries": pl.Int32,  # attempts before the one that is recorded
        "prompt_tokens": pl.Int32,
        "completion_tokens": pl.Int32,
        "cached_tokens": pl.Int32,
        "seconds": pl.Float64,  # from asking to the last token
        "engine_seconds": pl.Float64,  # this completion's share of the time that the engine ran
        "cost": pl.Float64,  # at the recipe's price on the day it was made
        "currency": _TEXT,
        "asset": _TEXT,  # what it was made for; another asset that asks the same reads it for nothing
        "source": _TEXT,
        "asked_as": _TEXT,  # the model's name in the recipe
        "model_id": _TEXT,
        "revision": _TEXT,
        "engine": _TEXT,  # JSON: name, version, dtype, parallelism
        "sampling": _TEXT,  # JSON
        "created_at": _TIME,
    },
    ("model",),
    frozenset({"reasoning", "error"}),
)
# What an encoder made of a text, for embedding scores; rows are only ever added.
EMBEDDINGS = Table(
    "embeddings",
    {
        "encoder": _TEXT,  # engine, model, revision and pooling, or a server's address and its name of the model
        "text": _TEXT,  # hash of the text
        "vector": pl.List(pl.Float32),  # of length 1
    },
    ("encoder",),
)
ANSWER_PLANS = Table(
    "answer_plans",
    _CELL
    | {
        "question_id": _TEXT,
        "key": _TEXT,
        "shard": pl.Int32,  # null when every sample was there already
        "position": pl.Int32,  # order of asking: the longest expected answers first
        "expected_tokens": pl.Float64,  # of one answer
        "first_sample": pl.Int32,  # index of its first sample: above 0 where the same text stands before it
    },
    ("source", "teacher"),
    frozenset({"shard"}),
)
TEACHER_ANSWERS = Table(
    "teacher_answers",
    _CELL
    | {
        "question_id": _TEXT,
        "sample_index": pl.Int32,
        "model": _TEXT,  # where in the ledger the text is
        "key": _TEXT,
        "completion_id": _TEXT,
        "content": _TEXT,
    },
    ("source", "teacher"),
)
REJECTED_ANSWERS = Table(
    "rejected_answers",
    _CELL | {"question_id": _TEXT, "sample_index": pl.Int32, "key": _TEXT, "reason": _TEXT, "evidence": _TEXT},
    ("source", "teacher"),
)
TRAINING_SETS = Table(
    "training_sets",
    {
        "training_set": _TEXT,  # name of the set
        "position": pl.Int32,  # order of the rows; a row that is repeated has several
        "source": _TEXT,
        "question_id": _TEXT,
        "sample_index": pl.Int32,
        "model": _TEXT,  # where in the ledger the text is
        "completion_id": _TEXT,
    },
    ("training_set",),
)
GENERATION_COSTS = Table(
    "generation_costs",
    {
        "day": pl.Date,  # UTC
        "asset": _TEXT,
        "source": _TEXT,
        "model": _TEXT,  # its name in the recipe
        "completions": pl.Int64,
        "failed": pl.Int64,
        "truncated": pl.Int64,
        "retries": pl.Int64,
        "prompt_tokens": pl.Int64,
        "cached_tokens": pl.Int64,
        "completion_tokens": pl.Int64,
        "engine_seconds": pl.Float64,
        "cost": pl.Float64,
        "currency": _TEXT,
    },
    (),
)
STUDENT_CHECKPOINTS = Table(
    "student_checkpoint",
    _CELL
    | {
        "path": _TEXT,
        "fingerprint": _TEXT,  # hash of base model, rows and settings: equal fingerprints are one training
        "rows": pl.Int64,
        "dropped_rows": pl.Int64,  # longer than max_length
        "steps": pl.Int64,
        "train_tokens": pl.Int64,
        "seconds": pl.Float64,
        "final_loss": pl.Float64,
        "losses": _TEXT,  # JSON list of [step, loss]
    },
    ("source", "teacher"),
)
BENCHMARK_SCORES = Table(
    "benchmark_scores",
    _CELL
    | {
        "benchmark": _TEXT,
        "metric": _TEXT,
        "item": _TEXT,  # id of the benchmark's question
        "score": pl.Float64,  # mean over the repeats
        "repeats": pl.Int32,
        "untrained_score": pl.Float64,  # the same item answered by the student before training
        "position": pl.Int32,  # of the item in the benchmark, from 0
        "failed": pl.Int32,  # samples whose requests failed: counted as wrong
        "truncated": pl.Int32,  # samples that were cut off at max_tokens
        "no_answer": pl.Int32,  # samples that were answered, and in which no answer was found
    },
    ("source", "teacher"),
    frozenset({"position", "failed", "truncated", "no_answer"}),  # unknown in rows of earlier versions
)
WATCHED_SOURCES = Table(
    "watched_sources",
    {
        "source": _TEXT,
        "signature": _TEXT,  # state of its files and settings when it was last looked at
        "content": _TEXT,  # what identifies their content
        "manifest": _TEXT,  # JSON: the settings of a landed source; empty for the recipe's own
        "problem": _TEXT,  # why it was not taken, or that it vanished; empty when nothing is wrong
        "take": _TEXT,  # name of this state of its content
        "number": pl.Int64,  # counts such states over all sources
    },
    (),
)


def _ranking(by: str) -> Table:
    return Table(
        f"{by}_ranking",
        {
            "rank": pl.Int32,
            by: _TEXT,
            "score": pl.Float64,  # mean over benchmarks and cells
            "standard_error": pl.Float64,  # clustered by benchmark item
            "difference_to_next": pl.Float64,  # paired on the same items
            "difference_standard_error": pl.Float64,
            "significant": pl.Boolean,  # p_value < 0.05
            "gain_over_untrained": pl.Float64,
            "items": pl.Int64,
            "cells": pl.Int64,
            "complete": pl.Boolean,  # False when a cell that others have is missing
            "domain": _TEXT,  # "all", or the domain of the sources that the ranking is over
            "p_value": pl.Float64,  # of difference_to_next, after Holm's correction over all neighbours
            "best": pl.Boolean,  # no other is better by more than chance
            "detectable_difference": pl.Float64,  # the smallest difference to the next that would have been found
            "z_score": pl.Float64,  # mean over benchmarks of the standardized scores
            "failed": pl.Int64,  # samples of the compared items whose requests failed
            "truncated": pl.Int64,  # samples that were cut off
            "no_answer": pl.Int64,  # samples in which no answer was found
        },
        (),
        # null: differences in the last row, errors of a single item, everything where no item is common to all
        frozenset(
            {"rank", "score", "standard_error", "gain_over_untrained"}
            | {"difference_to_next", "difference_standard_error", "significant"}
            | {"p_value", "best", "detectable_difference", "z_score", "failed", "truncated", "no_answer"}
        ),
    )


SOURCE_RANKING = _ranking("source")
TEACHER_RANKING = _ranking("teacher")

TABLES = {
    table.name: table
    for table in (
        RAW_SOURCES,
        SCORED_QUESTIONS,
        DEDUPED_QUESTIONS,
        REJECTED_QUESTIONS,
        COMPLETIONS,
        EMBEDDINGS,
        ANSWER_PLANS,
        TEACHER_ANSWERS,
        REJECTED_ANSWERS,
        TRAINING_SETS,
        GENERATION_COSTS,
        STUDENT_CHECKPOINTS,
        BENCHMARK_SCORES,
        SOURCE_RANKING,
        TEACHER_RANKING,
        WATCHED_SOURCES,
    )
}
