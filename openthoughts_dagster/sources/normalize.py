"""Normalizing rows: all sources get the same columns, and every row that is no question gets a reason."""

import math
from collections.abc import Mapping
from typing import Any

from openthoughts_dagster.lake import text_hash
from openthoughts_dagster.lake.unicode import has_lone_surrogate
from openthoughts_dagster.recipe import Columns, Source
from openthoughts_dagster.sources.columns import empty_field, fields_of, json_of, text_of, value_of
from openthoughts_dagster.sources.contract import LONGEST_ROW, Row, quote
from openthoughts_dagster.sources.patterns import PatternTimeout, search
from openthoughts_dagster.sources.text import clean_text, has_visible_text

ANSWER_PROBLEM = "answer_not_stored"  # in the metadata of a question whose answer no table can hold


def question_of(source: Source, columns: Columns, row: Row) -> dict[str, Any] | tuple[str, str]:
    """Make a row of raw_sources. The question's id is the hash of its text; equal texts get other ids later.

    Args:
        source: The source of the row.
        columns: How the source's rows are mapped.
        row: The row.

    Returns:
        The row of raw_sources, or the reason and the evidence when the row is no question.
    """
    if row.problem:
        return row.problem
    columns = row.columns or columns
    value = value_of(columns.question, row.values)
    if columns.part is not None and isinstance(value, str):
        try:
            found = search(columns.part, value, dot_matches_lines=True)
        except PatternTimeout as error:
            return "pattern_too_slow", f"{error}: {quote(value)}"
        if found is None:
            return "no_part", f"{columns.part!r} is not in {quote(value)}"
        value = found[1]
    if problem := _find_problem(columns.question, value, row.values):
        return problem
    clean = str if source.verbatim else clean_text
    question, (answer, unstored) = clean(value), _reference_answer(columns, row.values)
    if not has_visible_text(question):
        return (
            "no_question",
            f"{columns.question!r} holds no text but invisible characters: {quote(ascii(value))}",
        )
    rest = _metadata_values(columns, row.values) | ({ANSWER_PROBLEM: unstored} if unstored else {})
    return {
        "source": source.name,
        "question_id": text_hash(question),
        "domain": source.domain,
        "question": question,
        "reference_answer": None if answer is None else clean(answer),
        "licence": source.licence,
        "origin": json_of(row.origin),
        "metadata": json_of(rest),
    }


def rejection_of(source: Source, row: Row, reason: str, evidence: str) -> dict[str, Any]:
    """Make a row of rejected_questions."""
    return {
        "source": source.name,
        "stage": "raw_sources",
        "question_id": None,
        "question": None,
        "reason": reason,
        "evidence": evidence,
        "origin": json_of(row.origin),
    }


def _reference_answer(columns: Columns, values: Mapping[str, Any]) -> tuple[str | None, str | None]:
    """Return the reference answer, and why it cannot be stored. NaN and null mean that there is no answer."""
    value = None if columns.answer is None else value_of(columns.answer, values)
    if isinstance(value, bytes):
        try:
            value = value.decode("utf-8")
        except UnicodeDecodeError:
            return None, f"{len(value):,} bytes that are no UTF-8"
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return None, None
    if isinstance(value, float) and math.isinf(value):
        return None, "a number that is too large"
    text = text_of(value)
    if not has_visible_text(text):
        return None, None
    return (None, f"half of a surrogate pair in {quote(ascii(text))}") if has_lone_surrogate(text) else (text, None)


def _metadata_values(columns: Columns, values: Mapping[str, Any]) -> dict[str, Any]:
    if columns.metadata is not None:
        return {name: value_of(name, values) for name in columns.metadata}
    used = {*fields_of(columns.question), *(fields_of(columns.answer) if columns.answer else ())}
    return {name: value for name, value in values.items() if name not in used}


def _find_problem(column: str, value: Any, values: Mapping[str, Any]) -> tuple[str, str] | None:
    """Return the reason and the evidence when a value is no question, and None when it is one."""
    if isinstance(value, str) and value.strip():
        if has_lone_surrogate(value):
            return "not_utf8", f"half a surrogate pair or a broken byte in {quote(ascii(value))}"
        if len(value) > LONGEST_ROW:
            return "too_long", f"{len(value):,} characters in {column!r}: {quote(value)}"
        return None
    what = "nothing" if value is None else "no text" if isinstance(value, str) else f"a {type(value).__name__}"
    field = empty_field(column, values)
    empty = f", since {field!r} is empty or absent" if field not in (None, column) else ""
    return "no_question", f"{column!r} holds {what}{empty}; the row is {quote(json_of(dict(values)))}"
