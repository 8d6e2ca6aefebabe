"""One shape for the rows of all sources, and a reason for every row that is no question."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import polars as pl

from openthoughts_dagster.lake import RAW_SOURCES, REJECTED_QUESTIONS, text_hash
from openthoughts_dagster.recipe import Columns, Source
from openthoughts_dagster.sources.columns import fields_of, is_unicode, json_of, text_of, value_of
from openthoughts_dagster.sources.sampling import sample_stream

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


def normalize(source: Source, columns: Columns, rows: Iterable[Row], seed: str) -> SourceRows:
    """Map the columns of `rows` to the question table.

    A question's id is the hash of its text; a text that occurs again gets an id of its own, so that deduplication
    can say what it dropped. Raises SourceError when there is no row, none has a question, or a reference answer was
    asked for and none has one.
    """
    taken = rows if source.limit is None else sample_stream(rows, source.limit, seed)
    times: Counter[str] = Counter()
    questions: list[dict[str, Any]] = []
    rejected: list[dict[str, Any]] = []
    seen: set[str] = set()
    for row in taken:
        seen.update(row.values)
        question = None if row.problem else value_of(columns.question, row.values)
        problem = row.problem or _not_a_question(columns.question, question, row.values)
        if problem:
            rejected.append(_rejected(source, row, *problem))
            continue
        assert isinstance(question, str)
        times[question] += 1
        questions.append(_question(source, columns, row, question, times[question]))
    _check_found(source, columns, questions, rejected, sorted(seen))
    return SourceRows(
        pl.DataFrame(questions, schema=RAW_SOURCES.schema),
        pl.DataFrame(rejected, schema=REJECTED_QUESTIONS.schema),
        len(questions) + len(rejected),
    )


def _check_found(
    source: Source, columns: Columns, questions: list[dict[str, Any]], rejected: list[dict[str, Any]], seen: list[str]
) -> None:
    where = f"sources.{source.name}"
    if not questions and not rejected:
        raise SourceError(f"{where}: it has no rows; give it questions, or take it out of the recipe")
    found = f"their columns are {', '.join(seen)}" if seen else f"the first: {[*rejected, {}][0].get('evidence')}"
    if not questions:
        raise SourceError(
            f"{where}: none of its {len(rejected):,} rows has a question in {columns.question!r}; {found}. "
            "Set columns.question to the column, or a template such as '{title} {body}', that holds it"
        )
    if columns.answer is not None and all(question["reference_answer"] is None for question in questions):
        raise SourceError(
            f"{where}: none of its {len(questions):,} questions has an answer in {columns.answer!r}; {found}. "
            "Set columns.answer to the column that holds it, or leave it out"
        )


def _question(source: Source, columns: Columns, row: Row, question: str, occurrence: int) -> dict[str, Any]:
    answer = None if columns.answer is None else value_of(columns.answer, row.values)
    used = {*fields_of(columns.question), *(fields_of(columns.answer) if columns.answer else ())}
    rest = {name: value for name, value in row.values.items() if name not in used}
    return {
        "source": source.name,
        "question_id": text_hash(question) if occurrence == 1 else text_hash(question, str(occurrence)),
        "domain": source.domain,
        "question": question,
        "reference_answer": _reference(answer),
        "licence": source.licence,
        "origin": json_of(row.origin),
        "metadata": json_of(rest),
    }


def _reference(answer: Any) -> str | None:
    text = None if answer is None else text_of(answer)
    return None if text is None or not text.strip() or not is_unicode(text) else text


def _rejected(source: Source, row: Row, reason: str, evidence: str) -> dict[str, Any]:
    return {
        "source": source.name,
        "stage": "raw_sources",
        "question_id": None,
        "question": None,
        "reason": reason,
        "evidence": evidence,
        "origin": json_of(row.origin),
    }


def _not_a_question(column: str, value: Any, values: Mapping[str, Any]) -> tuple[str, str] | None:
    """Why a row is no question, as reason and evidence; None when it is one."""
    if isinstance(value, str) and value.strip():
        return None if is_unicode(value) else ("not_utf8", f"half a surrogate pair in {ascii(value)[:_EVIDENCE]}")
    what = "nothing" if value is None else "no text" if isinstance(value, str) else f"a {type(value).__name__}"
    return "no_question", f"{column!r} holds {what}; the row is {json_of(values)[:_EVIDENCE]}"
