"""Tables of questions: read, scored, selected and rejected ones; and the sources that are watched."""

import polars as pl

from openthoughts_dagster.lake.table import Column, Table

_QUESTION = {
    "source": Column(pl.String, "Name of the source in the recipe"),
    "question_id": Column(pl.String, "Hash of the question's text: the same text has the same id in every run"),
    "domain": Column(pl.String, "Domain of the source, such as math or code"),
    "question": Column(pl.String, "Text of the question"),
    "reference_answer": Column(pl.String, "The source's own answer; null where it has none", nullable=True),
    "licence": Column(pl.String, "Licence of the source"),
    "origin": Column(pl.String, "Where the question is from, as JSON: data set or file, revision, row"),
    "metadata": Column(pl.String, "Whatever else the source says of the question, as JSON"),
}
_SCORED = _QUESTION | {
    "scores": Column(
        pl.String,
        "Numbers by name of the score, as a JSON object; null for a score whose judge gave no reply that can be read",
    )
}

RAW_SOURCES = Table("raw_sources", "Every question of a source as it was read.", _QUESTION, ("source",))
SOURCE_READINGS = Table(
    "source_readings",
    "The settings with which the present rows of raw_sources were read; nothing while they are replaced.",
    {
        "source": Column(pl.String, "Name of the source in the recipe"),
        "settings": Column(pl.String, "Hash of the settings that decide what is read"),
        "definition": Column(pl.String, "These settings as JSON, without those at their defaults"),
        "rows": Column(pl.Int64, "Number of questions that were read"),
    },
    ("source",),
)
MADE_WITH = Table(
    "made_with",
    "The settings with which the present rows of an asset's partition were made, where what follows has to know them.",
    {
        "asset": Column(pl.String, "Name of the asset"),
        "partition": Column(pl.String, "Key of the partition"),
        "settings": Column(pl.String, "These settings, as JSON; empty while rows of other settings are replaced"),
    },
    ("asset", "partition"),
)
SCORED_QUESTIONS = Table(
    "scored_questions", "Every question of a source that was not rejected, with its scores.", _SCORED, ("source",)
)
DEDUPED_QUESTIONS = Table(
    "deduped_questions",
    "The questions that teachers are asked: selected by score, without leaks of benchmarks and without duplicates.",
    _SCORED,
    ("source",),
)
REJECTED_QUESTIONS = Table(
    "rejected_questions",
    "What was dropped before teachers were asked, with the reason and its evidence.",
    {
        "source": Column(pl.String, "Name of the source in the recipe"),
        "stage": Column(pl.String, "The asset that rejected it"),
        "question_id": Column(pl.String, "Id of the question; null for a row that never became one", nullable=True),
        "question": Column(pl.String, "Text of the question; null for a row that never became one", nullable=True),
        "reason": Column(pl.String, "One of a few short names, to count by"),
        "evidence": Column(pl.String, "What a person needs to agree or not: the match, the parse error, the row"),
        "origin": Column(pl.String, "Where it is from, as JSON: data set or file, revision, row"),
    },
    ("stage", "source"),
)
EMBEDDINGS = Table(
    "embeddings",
    "The vector that an encoder made of a text, for embedding scores; rows are only ever added.",
    {
        "encoder": Column(
            pl.String, "Engine, model, revision and pooling; or a server's address and its name of the model"
        ),
        "text": Column(pl.String, "Hash of the text"),
        "vector": Column(pl.List(pl.Float32), "The embedding, of length 1"),
    },
    ("encoder",),
)
WATCHED_SOURCES = Table(
    "watched_sources",
    "Every source of the recipe and of the landing zone as it was when it was last looked at.",
    {
        "source": Column(pl.String, "Name of the source"),
        "signature": Column(pl.String, "State of its files and settings when it was last looked at"),
        "content": Column(pl.String, "What identifies the content of its files"),
        "manifest": Column(pl.String, "Settings of a landed source, as JSON; empty for a source of the recipe"),
        "problem": Column(
            pl.String, "Why it was not read, or that it has vanished; empty when nothing is wrong with it"
        ),
        "take": Column(pl.String, "Name of this state of its content"),
        "number": Column(pl.Int64, "Counts such states over all sources"),
    },
)
