"""The values of a row by column name, path into nested columns, or template."""

import hashlib
import json
import math
import string
from collections.abc import Mapping, Sequence
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from openthoughts_dagster.lake.unicode import has_lone_surrogate
from openthoughts_dagster.recipe import Columns, TableSource
from openthoughts_dagster.sources.json_values import WrittenNumber, mark_numbers, parse_json, unmark_numbers

FIRST_USER, FIRST_REPLY = "first_user", "first_reply"
_USER = ("user", "human")
_PLAIN = (Decimal, datetime, date, time, timedelta, UUID)


def fields_of(column: str) -> list[str]:
    """List the columns, or paths such as messages.0.content, that a column name or a template reads."""
    return [name for name, _ in _fields(column)]


def text_columns(columns: Columns) -> list[str]:
    """List the columns of the question and the answer, which are read as text when the format has no types."""
    fields = [*fields_of(columns.question), *(fields_of(columns.answer) if columns.answer else [])]
    return list(dict.fromkeys(fields))


def needed_columns(source: TableSource, columns: Columns, names: Sequence[str]) -> list[str] | None:
    """List the columns of a table that a source reads, or return None when it reads all of them.

    A source reads all columns unless `columns.metadata` names those to keep.
    """
    if columns.metadata is None:
        return None
    asked = [columns.question, columns.answer, *columns.metadata, *(condition.column for condition in source.where)]
    fields = [field for column in asked if column for field in fields_of(column)]
    held = {field: [n for n in names if field == n or field.startswith(f"{n}.")] for field in fields}
    if not all(held.values()):
        return None  # a column is missing: all are read, so that the error can name those that there are
    return sorted({name for found in held.values() for name in found})


def value_of(column: str, values: Mapping[str, Any]) -> Any:
    """Return the value of a column, or fill in a template. Returns None when a needed column is absent or null.

    A template is filled in one pass, so that braces inside values stay text. A field such as `{input?}` may be absent,
    and a list becomes lines.
    """
    if not _is_template(column):
        return _look_up(column, values)
    parts: list[str] = []
    for literal, name, _, _ in string.Formatter().parse(column):
        parts.append(literal)
        if name:
            value = _look_up(name.removesuffix("?"), values)
            if value is None and not name.endswith("?"):
                return None
            parts.append("" if value is None else _join_lines(value))
    return "".join(parts)


def empty_field(column: str, values: Mapping[str, Any]) -> str | None:
    """Find the first column that a name or template needs and the row lacks. Returns None when the row has all."""
    for name, optional in _fields(column):
        value = _look_up(name, values)
        if not optional and (value is None or (isinstance(value, str) and not value.strip())):
            return name
    return None


def text_of(value: Any) -> str:
    """Convert a value to text: text, decimals and dates as they are, other values as JSON that can be parsed again.

    Numbers of a JSON file have the text that they have there.
    """
    if isinstance(value, str):
        return value
    if isinstance(value, WrittenNumber):
        return value.text
    if isinstance(value, _PLAIN):
        return str(value)
    numbers = list[str]()
    return unmark_numbers(json_of(mark_numbers(value, numbers)), numbers)


def json_of(value: Any) -> str:
    """Convert a value to valid JSON. Letters stay readable; lone surrogates, which no table can hold, are escaped.

    NaN and infinity become null, bytes become their length and hash, and other objects become their type.
    """
    try:
        text = json.dumps(value, ensure_ascii=False, sort_keys=True, default=plain_leaf, allow_nan=False)
    except (ValueError, TypeError):
        value = _replace_non_finite(value)
        text = json.dumps(value, ensure_ascii=False, sort_keys=True, default=plain_leaf)
    return json.dumps(value, sort_keys=True, default=plain_leaf) if has_lone_surrogate(text) else text


def plain_leaf(value: Any) -> Any:
    """Convert a value that JSON cannot hold to one that it can, in the same way in every process."""
    if isinstance(value, bytes | bytearray | memoryview):
        data = bytes(value)
        return {"bytes": len(data), "blake2b": hashlib.blake2b(data, digest_size=16).hexdigest()}
    text = str(value)
    address = f"{id(value):x}"
    return f"a {type(value).__name__}" if address in text.lower() or " at 0x" in text else text


def _replace_non_finite(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, Mapping):
        return {str(name): _replace_non_finite(inner) for name, inner in value.items()}
    return [_replace_non_finite(inner) for inner in value] if isinstance(value, list | tuple) else value


def _is_template(column: str) -> bool:
    return "{" in column or "}" in column


def _fields(column: str) -> list[tuple[str, bool]]:
    """The columns that a name or a template reads, and whether each may be absent."""
    if not _is_template(column):
        return [(column, False)]
    names = [name for _, name, _, _ in string.Formatter().parse(column) if name]
    return [(name.removesuffix("?"), name.endswith("?")) for name in names]


def _join_lines(value: Any) -> str:
    return "\n".join(map(text_of, value)) if isinstance(value, list) else text_of(value)


def _look_up(name: str, values: Any) -> Any:
    if isinstance(values, Mapping) and name in values:
        return values[name]
    head, dot, rest = name.partition(".")
    if not dot:
        return _look_up_part(head, values)
    return _look_up(rest, _look_up_part(head, values))


def _look_up_part(name: str, values: Any) -> Any:
    if isinstance(values, str) and values[:1] in ("{", "["):
        try:
            values = parse_json(values)
        except (ValueError, RecursionError):
            return None
    if isinstance(values, Mapping):
        return values.get(name)
    if not isinstance(values, list):
        return None
    if name in (FIRST_USER, FIRST_REPLY):
        return _find_turn(values, name)
    return values[int(name)] if name.isdecimal() and int(name) < len(values) else None


def _find_turn(turns: list[Any], name: str) -> Any:
    """Return the first user turn of a chat, or the turn after it. Turns have `from` and `value`, or `role` and
    `content`."""
    first = next((i for i, turn in enumerate(turns) if _role(turn) in _USER), None)
    if first is None:
        return None
    if name == FIRST_USER:
        return _message_text(turns[first])
    return _message_text(turns[first + 1]) if first + 1 < len(turns) and _role(turns[first + 1]) not in _USER else None


def _role(turn: Any) -> str:
    role = (turn.get("role") or turn.get("from")) if isinstance(turn, Mapping) else None
    return role.lower() if isinstance(role, str) else ""


def _message_text(turn: Mapping[str, Any]) -> Any:
    said = turn.get("content") if turn.get("content") is not None else turn.get("value")
    if isinstance(said, list):  # the parts of a message: when one is an image, the question is not a text
        texts = [part.get("text") if isinstance(part, Mapping) else None for part in said]
        return "\n".join(map(str, texts)) if texts and all(isinstance(text, str) for text in texts) else said
    return said
