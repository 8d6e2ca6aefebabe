"""A file dropped into the landing folder goes down to the teachers' answers by itself, and only it."""

import json

import polars as pl

from openthoughts_dagster.lake import (
    COMPLETIONS,
    DEDUPED_QUESTIONS,
    RAW_SOURCES,
    SCORED_QUESTIONS,
    TEACHER_ANSWERS,
    Table,
    frame_hash,
)
from openthoughts_dagster_tests.e2e.conftest import Live
from openthoughts_dagster_tests.e2e.servers import wait_for
from openthoughts_dagster_tests.e2e.small_recipe import GSM8K, NEW_TEACHER

CHAIN = ("raw_sources", "scored_questions", "deduped_questions")
ROWS = 40


def test_a_dropped_source_is_read_scored_curated_and_answered_by_the_teachers_in_use(live: Live) -> None:
    others, paid = _others(live), _completions(live)
    _drop(live, GSM8K.read_text().splitlines()[:30])
    wait_for(lambda: _cells(live) == {"gsm8k|worked", "gsm8k|direct"}, 360, "gsm8k answered", live.log)

    assert _partitions(live, RAW_SOURCES).height == _partitions(live, SCORED_QUESTIONS).height == 30
    questions = _partitions(live, DEDUPED_QUESTIONS).height
    assert _others(live) == others  # no other partition was touched
    assert _completions(live) - paid == 30 + questions * 2 * 2  # judged, and answered twice by two teachers
    assert f"gsm8k|{NEW_TEACHER}" not in live.materialized("teacher_answers")


def test_rows_appended_to_a_landed_source_are_the_only_ones_scored_and_answered(live: Live) -> None:
    others, paid, before = _others(live), _completions(live), live.versions("teacher_answers", "gsm8k")
    questions = set(_partitions(live, DEDUPED_QUESTIONS)["question_id"])
    _drop(live, GSM8K.read_text().splitlines()[:32])

    def answered() -> bool:
        now = live.versions("teacher_answers", "gsm8k")
        return set(now) == set(before) and all(now[cell] != before[cell] for cell in before)

    wait_for(answered, 360, "the longer gsm8k answered", live.log)
    new = set(_partitions(live, DEDUPED_QUESTIONS)["question_id"]) - questions
    assert new
    assert _completions(live) - paid == 2 + len(new) * 2 * 2
    assert _others(live) == others


def _drop(live: Live, rows: list[str]) -> None:
    """Put a source into the landing folder as an upload does: the data, the manifest, and the marker at last."""
    folder = live.landing / "gsm8k"
    folder.mkdir(exist_ok=True)
    (folder / "_SUCCESS").unlink(missing_ok=True)
    (folder / "questions.jsonl").write_text("\n".join(rows) + "\n")
    manifest = {
        "reader": "files",
        "domain": "math",
        "licence": "MIT",
        "path": "questions.jsonl",
        "columns": {"question": "question", "answer": "answer"},
    }
    (folder / "source.yaml").write_text(json.dumps(manifest))
    (folder / "_SUCCESS").touch()


def _cells(live: Live) -> set[str]:
    return {cell for cell in live.materialized("teacher_answers") if cell.startswith("gsm8k|")}


def _partitions(live: Live, table: Table) -> pl.DataFrame:
    return live.lake.scan(table, source="gsm8k").collect()


def _others(live: Live) -> tuple[dict[str, str], dict[str, dict[str, int]]]:
    """Content and number of runs of every other partition."""
    tables = (RAW_SOURCES, SCORED_QUESTIONS, DEDUPED_QUESTIONS, TEACHER_ANSWERS)
    contents = {t.name: frame_hash(live.lake.scan(t).filter(pl.col("source") != "gsm8k").collect()) for t in tables}
    counts = {
        name: {key: count for key, count in live.times_made(name).items() if not key.startswith("gsm8k")}
        for name in (*CHAIN, "teacher_answers", "student_checkpoint", "benchmark_scores")
    }
    return contents, counts


def _completions(live: Live) -> int:
    return live.lake.scan(COMPLETIONS).select(pl.len()).collect().item()
