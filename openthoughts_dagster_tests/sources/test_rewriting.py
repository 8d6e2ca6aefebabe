"""Questions that a judge writes from documents: only those that are kept are paid for."""

import json
from pathlib import Path

import pytest

from openthoughts_dagster.lake import Lake
from openthoughts_dagster.sources import rewriting
from openthoughts_dagster_tests.sources.helpers import lines, read
from openthoughts_dagster_tests.sources.judges import Judges

BLOCK = {
    "reader": "files",
    "path": "*.jsonl",
    "columns": {"question": "text"},
    "where": [{"column": "kind", "equals": "a"}],
    "rewrite": {"judge": "judge", "prompt": "question_from_text_v1"},
}


def _write(folder: Path, count: int = 8) -> None:
    rows = [{"text": f"Document {n}.", "kind": "a", "n": n} for n in range(count)]
    (folder / "a.jsonl").write_bytes(lines(*rows, {"text": "not of the kind"}) + b"{broken\n")


def _asks(prompt: str, sample: int) -> str:
    number = int(prompt.partition("Document ")[2].partition(".")[0])
    return {0: '{"question": ""}', 1: "no JSON"}.get(number, json.dumps({"question": f"What of {number}?"}))


def test_each_document_becomes_a_question_or_a_rejection_with_its_reason(
    tmp_path: Path, lake: Lake, untrained_model: Path
) -> None:
    _write(tmp_path)
    got = read(tmp_path, BLOCK, ask=Judges(lake, untrained_model, _asks))
    assert got.texts == [f"What of {n}?" for n in range(2, 8)]
    assert got.reasons == ["not_json", "nothing_written", "reply_unreadable"]
    assert got.staged.rows_in == 9 and got.staged.counts.rows == 10  # one was of another kind
    origin, metadata = got.origins()[0], json.loads(got.questions["metadata"][0])
    assert (origin["line"], origin["judge"], origin["prompt"]) == (3, "judge", "question_from_text_v1")
    assert len(origin["document"]) == 32 and metadata == {"kind": "a", "n": 2}


def test_only_documents_in_the_sample_are_paid_for_and_each_once(
    tmp_path: Path, lake: Lake, untrained_model: Path
) -> None:
    _write(tmp_path, 200)
    first, again = (Judges(lake, untrained_model, _asks) for _ in range(2))
    got = read(tmp_path, BLOCK | {"limit": 20}, ask=first)
    assert got.staged.rows_in == 20 and first.spent.generated <= 20 + 2  # 2: one document may be asked three times
    assert read(tmp_path, BLOCK | {"limit": 20}, ask=again).texts == got.texts
    assert again.spent.generated == 0


def test_documents_are_asked_about_in_portions(
    tmp_path: Path, lake: Lake, untrained_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rewriting, "_ASKED_AT_ONCE", 3)
    _write(tmp_path)
    got = read(tmp_path, BLOCK, ask=Judges(lake, untrained_model, _asks))
    assert got.texts == [f"What of {n}?" for n in range(2, 8)] and len(got.staged.shards) == 3


def test_a_column_called_question_is_kept_beside_the_written_question(
    tmp_path: Path, lake: Lake, untrained_model: Path
) -> None:
    rows = [{"text": f"Document {n}.", "kind": "a", "question": "of the document"} for n in (2, 3)]
    (tmp_path / "a.jsonl").write_bytes(lines(*rows))
    got = read(tmp_path, BLOCK, ask=Judges(lake, untrained_model, _asks))
    assert got.texts == ["What of 2?", "What of 3?"]
    assert json.loads(got.questions["metadata"][0]) == {"kind": "a", "document_question": "of the document"}
