"""Tables of answers: the ledger of completions, what is asked, which completion counts, and what it cost."""

import polars as pl

from openthoughts_dagster.lake.table import Column, Table

SOURCE = Column(pl.String, "Name of the source in the recipe")
CELL = {"source": SOURCE, "teacher": Column(pl.String, "Name of the teacher in the recipe")}
_QUESTION_ID = Column(pl.String, "Id of the question in `deduped_questions`")
_SAMPLE = Column(pl.Int32, "Which sample of the same prompt, from 0")
_KEY = Column(pl.String, "Hash of the model's identity, the rendered prompt and the sampling settings")
_MODEL = Column(pl.String, "Model id and revision; `local@` and the hash of its files for a folder")
_COMPLETION = Column(pl.String, "Id of this completion in `completions`")

COMPLETIONS = Table(
    "completions",
    "The ledger: one row is one sample of one prompt as an engine returned it; rows are only ever added.",
    {
        "model": _MODEL,
        "key": _KEY,
        "sample_index": _SAMPLE,
        "completion_id": Column(pl.String, "Id of this row alone: a sample that two shards asked for has two"),
        "content": Column(pl.String, "Hash of reasoning and answer, of which data versions are made"),
        "outcome": Column(pl.String, "`answered`, `unfinished`, `empty` or `failed`"),
        "prompt": Column(pl.String, "The prompt as the chat template rendered it"),
        "reasoning": Column(pl.String, "Text of the reasoning; null when the model did not reason", nullable=True),
        "answer": Column(pl.String, "Text of the answer"),
        "finish_reason": Column(pl.String, "Why the engine stopped, such as `stop` or `length`"),
        "error": Column(pl.String, "Why there is no answer; null when there is one", nullable=True),
        "permanent": Column(pl.Boolean, "Of a failure: whether asking the same again cannot help"),
        "retries": Column(pl.Int32, "Attempts before the one that is recorded"),
        "prompt_tokens": Column(pl.Int32, "Tokens of the prompt"),
        "completion_tokens": Column(pl.Int32, "Tokens of reasoning and answer"),
        "cached_tokens": Column(pl.Int32, "Tokens of the prompt that the engine had in its cache"),
        "seconds": Column(pl.Float64, "Seconds from asking to the last token"),
        "engine_seconds": Column(pl.Float64, "This completion's share of the time that the engine ran, in seconds"),
        "cost": Column(pl.Float64, "Price in `currency`, by the recipe's prices on the day it was made"),
        "currency": Column(pl.String, "Currency of `cost`, such as USD"),
        "asset": Column(pl.String, "Asset that asked for it; another asset that asks the same reads it without paying"),
        "source": Column(pl.String, "Name of the source whose partition asked for it"),
        "asked_as": Column(pl.String, "The model's name in the recipe"),
        "model_id": Column(pl.String, "Id of the model on the hub, or its folder"),
        "revision": Column(pl.String, "Commit of the model, or the hash of its files"),
        "engine": Column(
            pl.String, "The engine, as JSON: name, version, data type, parallelism, parameters of its own"
        ),
        "sampling": Column(pl.String, "The sampling settings, as JSON"),
        "created_at": Column(pl.Datetime("us", "UTC"), "When it was finished, UTC"),
        "teacher": Column(
            pl.String,
            "Name of the teacher whose partition asked for it; empty where the partition has none, and in older rows",
            default="",
            since=2,
        ),
    },
    ("model",),
)
REQUEST_BATCHES = Table(
    "request_batches",
    "A file of requests that was uploaded for a batch of a server, recorded before the batch is made; rows are only "
    "ever added.",
    {
        "model": _MODEL,
        "server": Column(pl.String, "Address of the server"),
        "input_file": Column(pl.String, "The server's id of the file, by which its batch is found again"),
        "requests": Column(pl.List(pl.String), "The custom ids of its requests: their key and sample index"),
        "asset": Column(pl.String, "Asset that asked"),
        "source": Column(pl.String, "Name of the source whose partition asked"),
        "created_at": Column(pl.Datetime("us", "UTC"), "When the file was uploaded, UTC"),
    },
    ("model",),
)
ANSWER_PLANS = Table(
    "answer_plans",
    "The questions of a source that a teacher is to answer, their keys, and the shard that asks for what is missing.",
    CELL
    | {
        "question_id": _QUESTION_ID,
        "key": _KEY,
        "shard": Column(pl.Int32, "Number of the shard; null when every sample was there already", nullable=True),
        "position": Column(pl.Int32, "Order of asking: the longest expected answers come first"),
        "expected_tokens": Column(pl.Float64, "Expected tokens of one answer"),
        "first_sample": Column(
            pl.Int32,
            "Index of its first sample: above 0 where the same text stands before it",
            default=0,
            since=2,
        ),
    },
    ("source", "teacher"),
)
TEACHER_ANSWERS = Table(
    "teacher_answers",
    "Which completion is the answer of a teacher to a question; `Lake.answers()` joins the texts.",
    CELL
    | {
        "question_id": _QUESTION_ID,
        "sample_index": _SAMPLE,
        "model": _MODEL,
        "key": _KEY,
        "completion_id": _COMPLETION,
        "content": Column(pl.String, "Hash of reasoning and answer"),
    },
    ("source", "teacher"),
)
REJECTED_ANSWERS = Table(
    "rejected_answers",
    "The samples of a teacher that no student learns from, with the reason and its evidence.",
    CELL
    | {
        "question_id": _QUESTION_ID,
        "sample_index": _SAMPLE,
        "key": _KEY,
        "reason": Column(pl.String, "One of a few short names, to count by"),
        "evidence": Column(pl.String, "What a person needs to agree or not"),
    },
    ("source", "teacher"),
)
TRAINING_SETS = Table(
    "training_sets",
    "The rows that one student learns from, by name, without their texts.",
    {
        "training_set": Column(pl.String, "Name of the training set"),
        "position": Column(pl.Int32, "Order of the rows, from 0; a row that is repeated has several"),
        "source": SOURCE,
        "question_id": _QUESTION_ID,
        "sample_index": _SAMPLE,
        "model": _MODEL,
        "completion_id": _COMPLETION,
    },
    ("training_set",),
)
GENERATION_COSTS = Table(
    "generation_costs",
    "The ledger summed up by day, asset, source, teacher and model.",
    {
        "day": Column(pl.Date, "Day on which the completions were finished, UTC"),
        "asset": Column(pl.String, "Asset that asked"),
        "source": Column(
            pl.String, "Name of the source whose partition asked; empty for answers that no source alone needs"
        ),
        "model": Column(pl.String, "The model's name in the recipe"),
        "completions": Column(pl.Int64, "Number of completions, failed ones included"),
        "failed": Column(pl.Int64, "Number of completions that ended in an error"),
        "truncated": Column(pl.Int64, "Number of completions that were cut off by a limit of tokens"),
        "retries": Column(pl.Int64, "Attempts before those that are recorded"),
        "prompt_tokens": Column(pl.Int64, "Tokens of the prompts"),
        "cached_tokens": Column(pl.Int64, "Tokens of the prompts that the engine had in its cache"),
        "completion_tokens": Column(pl.Int64, "Tokens of reasoning and answers"),
        "engine_seconds": Column(pl.Float64, "Time that engines ran for them, in seconds"),
        "cost": Column(pl.Float64, "Price in `currency`"),
        "currency": Column(pl.String, "Currency of `cost`, such as USD"),
        "teacher": Column(
            pl.String,
            "Name of the teacher whose partition asked; null where there is none, or none was recorded",
            nullable=True,
            since=2,
        ),
    },
)
