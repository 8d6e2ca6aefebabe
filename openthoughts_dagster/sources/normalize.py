"""One shape for the rows of all sources, and a reason for every row that is no question."""

import json
import random
import string
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import polars as pl

from openthoughts_dagster.lake import RAW_SOURCES, REJECTED_QUESTIONS, text_hash
from openthoughts_dagster.recipe import Columns, Source

_EVIDENCE = 200


class SourceError(ValueError):
    """A source that cannot be read: says which, why, and what to change."""


@dataclass(frozen=True)
class Row:
    """A row as its reader has it, and where it was. With `problem` (reason, evidence) it could not be parsed."""

    values: Mapping[str, Any]
    origin: Mapping[str, Any]
    problem: tuple[str, str] | None = None


@dataclass(frozen=True)
class SourceRows:
    """Rows of raw_sources and of rejected_questions; together `rows_in`."""

    questions: pl.DataFrame
    rejected: pl.DataFrame
    rows_in: int


def normalize(source: Source, columns: Columns, rows: Iterable[Row], seed: int) -> SourceRows:
    """Map the columns of `rows` to the question table.

    A question's id is the hash of its text; a text that occurs again gets an id of its own, so that deduplication
    can say what it dropped. Raises SourceError when there is no row, or none has a question.
    """
    taken = list(rows) if source.limit is None else _sample(rows, source.limit, f"{seed}:{source.name}")
    if not taken:
        raise SourceError(f"sources.{source.name}: it has no rows; give it questions, or take it out of the recipe")
    times: Counter[str] = Counter()
    questions: list[dict[str, Any]] = []
    rejected: list[dict[str, Any]] = []
    for row in taken:
        question = None if row.problem else _text(columns.question, row.values)
        problem = row.problem or (None if _is_question(question) else ("no_question", _evidence(row.values)))
        if problem:
            rejected.append(_rejected(source, row, *problem))
            continue
        assert isinstance(question, str)
        times[question] += 1
        questions.append(_question(source, columns, row, question, times[question]))
    if not questions:
        seen = sorted({name for row in taken for name in row.values})
        found = f"their columns are {seen}" if seen else f"the first: {rejected[0]['evidence']}"
        raise SourceError(
            f"sources.{source.name}: none of its {len(taken):,} rows has a question in {columns.question!r}; {found}. "
            "Set columns.question to the column, or a template such as '{title} {body}', that holds it"
        )
    return SourceRows(
        pl.DataFrame(questions, schema=RAW_SOURCES.schema),
        pl.DataFrame(rejected, schema=REJECTED_QUESTIONS.schema),
        len(taken),
    )


def _question(source: Source, columns: Columns, row: Row, question: str, occurrence: int) -> dict[str, Any]:
    answer = None if columns.answer is None else _text(columns.answer, row.values)
    used = _fields(columns.question) | (_fields(columns.answer) if columns.answer else set())
    rest = {name: value for name, value in row.values.items() if name not in used}
    return {
        "source": source.name,
        "question_id": text_hash(question) if occurrence == 1 else text_hash(question, str(occurrence)),
        "domain": source.domain,
        "question": question,
        "reference_answer": None if answer is None else str(answer),
        "licence": source.licence,
        "origin": _json(row.origin),
        "metadata": _json(rest),
    }


def _rejected(source: Source, row: Row, reason: str, evidence: str) -> dict[str, Any]:
    return {
        "source": source.name,
        "stage": "raw_sources",
        "question_id": None,
        "question": None,
        "reason": reason,
        "evidence": evidence,
        "origin": _json(row.origin),
    }


def _is_question(value: Any) -> bool:
    return isinstance(value, str) and bool(value.strip())


def _fields(column: str) -> set[str]:
    """The columns that a column name or a template reads."""
    return {name for _, name, _, _ in string.Formatter().parse(column) if name} if "{" in column else {column}


def _text(column: str, values: Mapping[str, Any]) -> Any:
    """A column's value, or a template filled in; None when a column that it needs is absent or null."""
    if "{" not in column:
        return values.get(column)
    needed = {name: values.get(name) for name in _fields(column)}
    if any(value is None for value in needed.values()):
        return None
    # not str.format: a template must not reach into attributes of values
    text = column
    for name, value in needed.items():
        text = text.replace("{" + name + "}", str(value))
    return text


def _evidence(values: Mapping[str, Any]) -> str:
    return f"the row is {_json(values)[:_EVIDENCE]}"


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, sort_keys=True, default=str)


def _sample(rows: Iterable[Row], count: int, seed: str) -> list[Row]:
    """A uniform sample in the source's order, in one pass and with memory for `count` rows (reservoir sampling)."""
    rng, kept = random.Random(seed), list[tuple[int, Row]]()
    for number, row in enumerate(rows):
        if number < count:
            kept.append((number, row))
        elif (place := rng.randint(0, number)) < count:
            kept[place] = (number, row)
    return [row for _, row in sorted(kept, key=lambda entry: entry[0])]
