"""Where a question, an answer or a row of the release comes from, and which students learned from it."""

import json
from collections.abc import Callable
from typing import Any

import polars as pl

from openthoughts_dagster.evaluation import benchmark_items
from openthoughts_dagster.inspection.judge_replies import rewriting_replies
from openthoughts_dagster.inspection.students import students_with
from openthoughts_dagster.inspection.traced_answers import answers_to, students_of
from openthoughts_dagster.lake import (
    ARM_ANSWERS,
    COMPLETIONS,
    DEDUPED_QUESTIONS,
    RAW_SOURCES,
    REASONING_DATASET,
    REJECTED_QUESTIONS,
    REJECTED_RELEASE,
    SCORED_QUESTIONS,
    TEACHER_ANSWERS,
    Lake,
    Table,
)
from openthoughts_dagster.questions.decisions import STEPS
from openthoughts_dagster.questions.select import rank_by_score
from openthoughts_dagster.recipe import Recipe

Row = dict[str, Any]
_LEDGER = (
    *("completion_id", "model", "asked_as", "engine", "sampling", "finish_reason", "outcome", "error", "prompt_tokens"),
    *("completion_tokens", "cost", "currency", "created_at", "asset", "source", "prompt", "reasoning", "answer"),
)


class NothingTraced(LookupError):
    """No table has the id; the message says what was looked for."""


def trace(lake: Lake, recipe: Recipe, id_: str, replies: Callable[[Row], list[Row]] | None = None) -> Row:
    """Trace a question or a completion by its id.

    Args:
        lake: The tables.
        recipe: The recipe, which says how questions are selected.
        id_: The id of a question, or of a completion.
        replies: Returns what judges replied about a row of `raw_sources`; see `judge_replies`.

    Returns:
        A value that JSON can hold: `completion` (null for a question), `benchmark_items` (those that a completion of a
        student answers), and `questions`, one for each question: `question`, `origins`, `written_by`, `scores`,
        `replies`, `decisions`, `duplicates`, `answers`, `students` and `release`.

    Raises:
        NothingTraced: No table has the id.
    """
    question_ids = [id_] if _is_question(lake, id_) else []
    completion = None
    if not question_ids:
        completion = completion_row(lake, id_)
        if completion is None:
            raise NothingTraced(
                f"no question and no completion has the id {id_!r}: give the complete id, as in the tables"
            )
        question_ids = _questions_answered_by(lake, id_)
    return {
        "id": id_,
        "completion": completion,
        "benchmark_items": [] if completion is None else _items_answered_by(lake, id_),
        "questions": [trace_question(lake, recipe, each, replies) for each in question_ids],
    }


def trace_release_row(
    lake: Lake, recipe: Recipe, release: str, position: int, replies: Callable[[Row], list[Row]] | None = None
) -> Row:
    """Trace a row of the release, as `trace` does for its completion.

    Args:
        lake: The tables.
        recipe: The recipe.
        release: The teacher of the release, or the name of the recipe's release if only one teacher has one.
        position: The row's place in the release, from 0.
        replies: As in `trace`.

    Raises:
        NothingTraced: There is no such release or row.
    """
    teachers = lake.scan(REASONING_DATASET).select(pl.col("teacher").unique().sort()).collect()["teacher"].to_list()
    named = recipe.release is not None and recipe.release.name == release
    teacher = teachers[0] if named and len(teachers) == 1 else release
    rows = lake.scan(REASONING_DATASET, teacher=teacher).filter(pl.col("position") == position).collect()
    if rows.is_empty():
        there = ", ".join(teachers) or "none: materialize reasoning_dataset"
        raise NothingTraced(f"no row {position} of a release by {release!r}; there are releases by {there}")
    row = rows.row(0, named=True)
    return {
        "id": f"{release} {position}",
        "release_row": row,
        "completion": completion_row(lake, row["completion_id"]),
        "questions": [trace_question(lake, recipe, row["question_id"], replies)],
    }


def trace_question(
    lake: Lake, recipe: Recipe, question_id: str, replies: Callable[[Row], list[Row]] | None = None
) -> Row:
    """Trace one question; see `trace` for what is returned."""
    raw, rejected = _rows(lake, RAW_SOURCES, question_id), _rows(lake, REJECTED_QUESTIONS, question_id)
    scored, kept = _rows(lake, SCORED_QUESTIONS, question_id), _rows(lake, DEDUPED_QUESTIONS, question_id)
    known = raw or rejected or scored or kept  # its source may have been read again without it
    first = known[0] if known else {"question_id": question_id}
    return {
        "question": {name: first.get(name) for name in ("question_id", "question", "reference_answer", "domain")},
        "origins": [
            {"source": row["source"], "licence": row.get("licence"), "origin": _read_json(row["origin"]),
             "metadata": _read_json(row.get("metadata") or "{}")}
            for row in known
        ],
        "written_by": [reply for row in raw for reply in rewriting_replies(lake, row)],
        "scores": [row for each in scored for row in _scores(lake, recipe, each)],
        "replies": [reply for row in raw[:1] for reply in (replies(row) if replies else [])],
        "decisions": [*map(_kept, kept), *map(_decision, rejected)],
        "duplicates": _duplicates(lake, question_id, rejected),
        "answers": answers_to(lake, question_id),
        "students": students_of(lake, question_id),
        "release": _in_release(lake, question_id),
    }  # fmt: skip


def completion_row(lake: Lake, completion_id: str) -> Row | None:
    """Return the ledger's row of a completion with its texts; None if there is none."""
    rows = lake.scan(COMPLETIONS).filter(pl.col("completion_id") == completion_id).select(_LEDGER).collect()
    return None if rows.is_empty() else rows.row(0, named=True)


def _is_question(lake: Lake, id_: str) -> bool:
    return any(
        lake.scan(table).filter(pl.col("question_id") == id_).head(1).collect().height
        for table in (RAW_SOURCES, REJECTED_QUESTIONS, DEDUPED_QUESTIONS, REASONING_DATASET)
    )


def _questions_answered_by(lake: Lake, completion_id: str) -> list[str]:
    frames = [
        lake.scan(table).filter(pl.col("completion_id") == completion_id).select("question_id")
        for table in (TEACHER_ANSWERS, ARM_ANSWERS, REASONING_DATASET)
    ]
    return pl.concat(frames).unique().sort("question_id").collect()["question_id"].to_list()


def _items_answered_by(lake: Lake, completion_id: str) -> list[Row]:
    """Return the benchmark items that a completion of a student answers, with its verdict."""
    found = []
    for student in students_with(lake, completion_id):
        items = benchmark_items(lake, student.scores, **student.partition).filter(completion_id=completion_id)
        shown = items.select("benchmark", "item", "repeat", "verdict", "extracted", "reference").collect()
        found += [{"student": student.label, **row} for row in shown.iter_rows(named=True)]
    return found


def _rows(lake: Lake, table: Table, question_id: str) -> list[Row]:
    rows = lake.scan(table).filter(pl.col("question_id") == question_id).collect()
    return list(rows.sort("source").iter_rows(named=True))


def _scores(lake: Lake, recipe: Recipe, scored: Row) -> list[Row]:
    """Return each score of a question; the one that selection uses with the question's place."""
    selection = recipe.domain(scored["domain"]).selection
    rows = []
    for name, value in json.loads(scored["scores"]).items():
        row = {"source": scored["source"], "score": name, "value": value, "place": None}
        if selection is not None and selection.by == name:
            every = lake.scan(SCORED_QUESTIONS, source=scored["source"]).select("question_id", "scores").collect()
            rank, _ = rank_by_score(every, name)
            place = int(rank[every["question_id"].index_of(scored["question_id"])]) + 1
            row["place"] = f"{place:,} of {every.height:,}; the recipe takes {selection.count:,}"
        rows.append(row)
    return rows


def _kept(row: Row) -> Row:
    return {"source": row["source"], "stage": DEDUPED_QUESTIONS.name, "decision": "kept", "evidence": None}


def _decision(row: Row) -> Row:
    evidence = _read_json(row["evidence"])
    return {"source": row["source"], "stage": row["stage"], "decision": row["reason"], "evidence": evidence}


def _duplicates(lake: Lake, question_id: str, rejected: list[Row]) -> list[Row]:
    """Return the questions that repeat this one, and those that this one repeats."""
    reasons = STEPS["dedup"]
    rows = (
        lake.scan(REJECTED_QUESTIONS, stage=DEDUPED_QUESTIONS.name)
        .filter(pl.col("reason").is_in(reasons), pl.col("evidence").str.contains(question_id, literal=True))
        .collect()
    )
    found = []
    for row in rows.iter_rows(named=True):
        evidence = _read_json(row["evidence"])
        if question_id in (evidence.get("of"), evidence.get("kept")):
            found.append(_pair(row["question_id"], "repeats it", row, evidence) | {"question": row["question"]})
    for row in rejected:
        if row["reason"] in reasons:
            evidence = _read_json(row["evidence"])
            found.append(_pair(evidence.get("of"), "is repeated by it", row, evidence))
    return found


def _pair(other: Any, relation: str, row: Row, evidence: Row) -> Row:
    return {
        "question_id": other,
        "relation": relation,
        "source": row["source"],
        "reason": row["reason"],
        "similarity": evidence.get("similarity"),
        "question": evidence.get("text"),
    }


def _in_release(lake: Lake, question_id: str) -> list[Row]:
    own = pl.col("question_id") == question_id
    kept = lake.scan(REASONING_DATASET).filter(own)
    went = lake.scan(REJECTED_RELEASE).filter(own)
    columns = ("teacher", "source", "sample_index")
    rows = pl.concat(
        [
            kept.select(*columns, "position", decision=pl.lit("published"), evidence=pl.lit(None, dtype=pl.String)),
            went.select(
                *columns,
                pl.lit(None, dtype=pl.Int64).alias("position"),
                decision=pl.format("{}: {}", "step", "reason"),
                evidence="evidence",
            ),
        ]
    )
    return list(rows.collect().sort(columns).iter_rows(named=True))


def _read_json(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text
