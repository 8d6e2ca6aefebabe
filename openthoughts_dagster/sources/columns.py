"""A row's values by column name, path into nested columns, or template."""

import json
import string
from collections.abc import Mapping, Sequence
from typing import Any

from openthoughts_dagster.recipe import Columns, TableSource


def fields_of(column: str) -> list[str]:
    """The columns, or paths such as messages.0.content, that a column name or a template reads."""
    if "{" not in column and "}" not in column:
        return [column]
    return [name for _, name, _, _ in string.Formatter().parse(column) if name]


def needed_columns(source: TableSource, columns: Columns, names: Sequence[str]) -> list[str] | None:
    """Which of a table's columns the source reads; None for all, which it does unless `columns.metadata` is set."""
    if columns.metadata is None:
        return None
    asked = [columns.question, columns.answer, *columns.metadata, *(condition.column for condition in source.where)]
    fields = [field for column in asked if column for field in fields_of(column)]
    held = {field: [n for n in names if field == n or field.startswith(f"{n}.")] for field in fields}
    if not all(held.values()):
        return None  # one is missing: what there is has to be seen
    return sorted({name for found in held.values() for name in found})


def value_of(column: str, values: Mapping[str, Any]) -> Any:
    """A column's value, or a template filled in; None when a column that it needs is absent or null.

    A template is filled in one pass, so that braces inside values stay text.
    """
    if "{" not in column and "}" not in column:
        return _found(column, values)
    parts: list[str] = []
    for literal, name, _, _ in string.Formatter().parse(column):
        parts.append(literal)
        if name:
            value = _found(name, values)
            if value is None:
                return None
            parts.append(text_of(value))
    return "".join(parts)


def text_of(value: Any) -> str:
    """Text as it is; other values as JSON, which reads back."""
    return value if isinstance(value, str) else json_of(value)


def json_of(value: Any) -> str:
    """JSON with readable letters, or escapes where a letter is half a surrogate pair and fits no table."""
    text = json.dumps(value, ensure_ascii=False, sort_keys=True, default=str)
    return text if is_unicode(text) else json.dumps(value, sort_keys=True, default=str)


def is_unicode(text: str) -> bool:
    """Whether the text can be written at all: JSON can escape half a surrogate pair, UTF-8 cannot hold it."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _found(name: str, values: Any) -> Any:
    if isinstance(values, Mapping) and name in values:
        return values[name]
    head, dot, rest = name.partition(".")
    if not dot:
        return _step(head, values)
    return _found(rest, _step(head, values))


def _step(name: str, values: Any) -> Any:
    if isinstance(values, str) and values[:1] in ("{", "["):
        try:
            values = json.loads(values)
        except (ValueError, RecursionError):
            return None
    if isinstance(values, Mapping):
        return values.get(name)
    if isinstance(values, list) and name.isdecimal() and int(name) < len(values):
        return values[int(name)]
    return None
