"""The columns of the files that others load: one function for each config, which makes its Arrow table of rows."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa

Sizes = npt.NDArray[np.int64]


def published_text() -> pl.Expr:
    """Make the text of an answer as OpenThoughts3 publishes it: reasoning between `<think>` tags, and the answer.

    An answer without reasoning is the answer alone. Reasoning that was cut off stays open.
    """
    reasoning, answer = pl.col("reasoning").str.strip_chars("\n"), pl.col("answer").str.strip_chars("\n")
    open_ = pl.concat_str(pl.lit("<think>\n"), reasoning)
    return (
        pl.when(pl.col("reasoning").is_null())
        .then(answer)
        .when(pl.col("answer").str.strip_chars() == "")
        .then(open_)
        .otherwise(pl.concat_str(open_, pl.lit("\n</think>\n\n"), answer))
    )


@dataclass(frozen=True)
class Config:
    """One config of the data set.

    Args:
        folder: The folder of its files.
        schema: Its Arrow schema.
        table: Makes its table of rows and of what `turn_texts` made of them, which conversations consist of.
        texts: The columns of those rows whose bytes make the size of a row.
    """

    folder: str
    schema: pa.Schema
    table: Callable[[pl.DataFrame, pa.Array | None], pa.Table]
    texts: tuple[str, ...]

    def sizes(self, rows: pl.DataFrame) -> Sizes:
        """Return about how many bytes each row has."""
        total = pl.lit(_ROW_BYTES, dtype=pl.Int64)
        for name in self.texts:
            length = pl.col(name).list.eval(pl.element().str.len_bytes()).list.sum() if name == "answers" else None
            total += (pl.col(name).str.len_bytes() if length is None else length).fill_null(0).cast(pl.Int64)
        return rows.select(pl.lit(0, dtype=pl.Int64) + total).to_series().to_numpy()

    @property
    def features(self) -> list[dict[str, Any]]:
        """The features of the schema as the hub writes them in `dataset_info`."""
        return [_feature(field.name, field.type) for field in self.schema]


_ROW_BYTES = 64


def turn_texts(rows: pl.DataFrame) -> pa.Array:
    """Return the columns question and text in one array of strings: question, text, question, text and so on."""
    places = np.arange(2 * rows.height).reshape(2, rows.height).T.ravel()
    return _strings(pl.concat([rows["question"], rows["text"].alias("question")]).gather(places))


def _turns(roles: tuple[str, str], keys: tuple[str, str], texts: pa.Array) -> pa.Array:
    """Make a list of two turns for each row, under the names of roles and keys."""
    count = len(texts) // 2
    names = pa.DictionaryArray.from_arrays(np.tile(np.array([0, 1], np.int8), count), pa.array(roles)).cast(pa.string())
    turns = pa.StructArray.from_arrays([names, texts], fields=[pa.field(key, pa.string()) for key in keys])
    return pa.ListArray.from_arrays(pa.array(np.arange(0, 2 * count + 1, 2, dtype=np.int32)), turns)


def _strings(column: pl.Series) -> pa.Array:
    return _combined(column.to_arrow(compat_level=pl.CompatLevel.oldest())).cast(pa.string())


def _combined(array: Any) -> pa.Array:
    return array.combine_chunks() if isinstance(array, pa.ChunkedArray) else array


def _table(schema: pa.Schema, rows: pl.DataFrame, **made: pa.Array) -> pa.Table:
    arrays = []
    for field in schema:
        own = made.get(field.name)
        if own is None:
            own = _combined(rows[field.name].to_arrow(compat_level=pl.CompatLevel.oldest()))
        arrays.append(own.cast(field.type))
    return pa.Table.from_arrays(arrays, schema=schema)


def _turn_type(*keys: str) -> pa.DataType:
    return pa.list_(pa.field("element", pa.struct([pa.field(key, pa.string()) for key in keys])))


_DEFAULT = pa.schema(
    [
        ("difficulty", pa.int64()),
        ("source", pa.string()),
        ("domain", pa.string()),
        ("conversations", _turn_type("from", "value")),
    ]
)
_MESSAGES = pa.schema([("messages", _turn_type("role", "content"))])
_QUESTIONS = pa.schema(
    [
        ("question_id", pa.string()),
        ("source", pa.string()),
        ("domain", pa.string()),
        ("licence", pa.string()),
        ("difficulty", pa.int64()),
        ("question", pa.string()),
        ("reference_answer", pa.string()),
        ("sample_indices", pa.list_(pa.field("element", pa.int32()))),
        ("answers", pa.list_(pa.field("element", pa.string()))),
        ("majority_answer", pa.string()),
        ("agreement", pa.float64()),
    ]
)
_METADATA = pa.schema(
    [
        ("question_id", pa.string()),
        ("sample_index", pa.int32()),
        ("source", pa.string()),
        ("domain", pa.string()),
        ("licence", pa.string()),
        ("origin", pa.string()),
        ("scores", pa.string()),
        ("teacher", pa.string()),
        ("model", pa.string()),
        ("completion_id", pa.string()),
        ("content", pa.string()),
        ("outcome", pa.string()),
        ("finish_reason", pa.string()),
        ("prompt_tokens", pa.int32()),
        ("completion_tokens", pa.int32()),
        ("cost", pa.float64()),
        ("currency", pa.string()),
        ("sampling", pa.string()),
        ("answered_at", pa.timestamp("us", "UTC")),
        ("agreement", pa.float64()),
        ("majority", pa.bool_()),
    ]
)
_REJECTED = pa.schema(
    [
        ("source", pa.string()),
        ("question_id", pa.string()),
        ("sample_index", pa.int32()),
        ("step", pa.string()),
        ("reason", pa.string()),
        ("evidence", pa.string()),
    ]
)


def _default(rows: pl.DataFrame, texts: pa.Array) -> pa.Table:
    return _table(_DEFAULT, rows, conversations=_turns(("human", "gpt"), ("from", "value"), texts))


def _messages(rows: pl.DataFrame, texts: pa.Array) -> pa.Table:
    return _table(_MESSAGES, rows, messages=_turns(("user", "assistant"), ("role", "content"), texts))


CONFIGS: Mapping[str, Config] = {
    "default": Config("data", _DEFAULT, _default, ("question", "text")),
    "messages": Config("messages", _MESSAGES, _messages, ("question", "text")),
    "questions": Config("questions", _QUESTIONS, lambda rows, _: _table(_QUESTIONS, rows), ("question", "answers")),
    "metadata": Config(
        "metadata", _METADATA, lambda rows, _: _table(_METADATA, rows), ("origin", "scores", "sampling")
    ),
    "rejected": Config("rejected", _REJECTED, lambda rows, _: _table(_REJECTED, rows), ("evidence",)),
}
"""The configs by name. The rows of `default`, `messages` and `metadata` stand in the same order."""


def _feature(name: str, kind: pa.DataType) -> dict[str, Any]:
    if pa.types.is_list(kind):
        inner = kind.value_type
        if pa.types.is_struct(inner):
            return {"name": name, "list": [_feature(field.name, field.type) for field in inner]}
        return {"name": name, "list": _dtype(inner)}
    return {"name": name, "dtype": _dtype(kind)}


def _dtype(kind: pa.DataType) -> str:
    if pa.types.is_timestamp(kind):
        return f"timestamp[{kind.unit}, tz={kind.tz}]"
    return {pa.string(): "string", pa.float64(): "float64", pa.bool_(): "bool"}.get(kind, str(kind))
