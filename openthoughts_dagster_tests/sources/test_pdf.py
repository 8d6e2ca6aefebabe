"""PDFs: pages of text, and what a judge extracts, refines and lets through, each reply paid for once."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fsspec.implementations.local import LocalFileSystem

from openthoughts_dagster.generation.generate import ledger_client
from openthoughts_dagster.generation.ledger_writer import Purpose
from openthoughts_dagster.generation.model import locate
from openthoughts_dagster.generation.pool import EnginePool
from openthoughts_dagster.generation.usage import Usage
from openthoughts_dagster.lake import COMPLETIONS, Lake
from openthoughts_dagster.recipe import Judge, Sampling
from openthoughts_dagster.sources import SourceError
from openthoughts_dagster_tests.sources.helpers import Read, read
from openthoughts_dagster_tests.sources.judges import Judges, pairs

Reply = Callable[[str, int], str]


def _write_pdf(path: Path, pages: list[str], password: str = "") -> None:
    from fpdf import FPDF

    pdf = FPDF()
    pdf.set_font("Helvetica", size=12)
    for text in pages:
        pdf.add_page()
        if text:
            pdf.multi_cell(0, text=text)
    if password:
        pdf.set_encryption("owner", user_password=password)
    pdf.output(str(path))


def _careful(prompt: str, sample: int) -> str:
    """Finds the exercises Q1, Q2, ... in the text; refines by a note; says no to Q2."""
    question = re.search(r"Question:\s+(.*?)\s+Answer:", prompt, re.S)
    if "Find the exercises" in prompt:
        return pairs(*dict.fromkeys(re.findall(r"Q\d\?", prompt)))
    assert question
    if "Improve their form" in prompt:
        return json.dumps({"question": f"Refined {question[1]}", "answer": "a"})
    return json.dumps({"keep": "no" if "Q2" in question[1] else "yes"})


def _read(folder: Path, judges: Any, **more: Any) -> Read:
    block = {"reader": "pdf", "path": "*.pdf", "judge": "judge"} | more
    return read(folder, block, ask=judges)


@pytest.fixture
def judge(lake: Lake, untrained_model: Path) -> Callable[[Reply], Judges]:
    return lambda reply: Judges(lake, untrained_model, reply)


def test_pairs_are_extracted_refined_filtered_and_say_their_pages(
    tmp_path: Path, judge: Callable[[Reply], Judges]
) -> None:
    _write_pdf(tmp_path / "a.pdf", ["Q1? 42.", "Nothing to see.", "Q2? 7."])
    got = _read(tmp_path, judge(_careful))
    assert got.texts == ["Refined Q1?"] and got.questions["reference_answer"].to_list() == ["a"]
    assert got.origins() == [{"file": "a.pdf", "pages": [1, 2]}]
    assert got.reasons == ["judged_unfit"] and "Q2?" in got.rejected["evidence"][0]
    assert got.staged.rows_in == 2


def test_a_question_on_pages_that_two_groups_share_is_asked_about_once(
    tmp_path: Path, judge: Callable[[Reply], Judges]
) -> None:
    _write_pdf(tmp_path / "a.pdf", ["Nothing.", "Q1? 42.", "Nothing."])
    judges = judge(_careful)
    got = _read(tmp_path, judges)
    assert got.texts == ["Refined Q1?"] and got.reasons == ["found_twice"]
    assert judges.spent.generated == 2 + 1 + 1  # two groups, one refinement, one verdict


def test_reading_again_pays_for_nothing_and_a_limit_reads_fewer_pages(
    tmp_path: Path, lake: Lake, judge: Callable[[Reply], Judges]
) -> None:
    for name in ("a", "b"):
        _write_pdf(tmp_path / f"{name}.pdf", [f"Q{n}? of {name}" for n in range(5)])
    few = judge(_careful)
    assert _read(tmp_path, few, pages=1, overlap=0, limit=3).staged.rows_in == 3
    assert few.spent.generated <= 9
    every, again = judge(_careful), judge(_careful)
    first = _read(tmp_path, every, pages=1, overlap=0)
    LocalFileSystem.clear_instance_cache()  # as in another process, which finds the shards of this one by their version
    second = _read(tmp_path, again, pages=1, overlap=0)
    assert [shard.version for shard in first.staged.shards] == [shard.version for shard in second.staged.shards]
    assert first.questions.equals(second.questions) and first.staged.rows_in == 10
    assert again.spent.generated == 0
    assert lake.scan(COMPLETIONS).collect().height == every.spent.generated + few.spent.generated


def test_a_judge_that_answers_prose_is_asked_again_and_then_given_up_with_a_reason(
    tmp_path: Path, judge: Callable[[Reply], Judges]
) -> None:
    _write_pdf(tmp_path / "a.pdf", ["Q1? 42."])
    _write_pdf(tmp_path / "b.pdf", ["Q3? 42."])

    def prose_at_first(prompt: str, sample: int) -> str:
        if "Q3?" in prompt and "Improve" in prompt:
            return "I would rather not answer in JSON."
        return _careful(prompt, sample) if sample else "Sure! Here you go."

    judges = judge(prose_at_first)
    got = _read(tmp_path, judges)
    assert got.texts == ["Refined Q1?"]
    assert got.reasons == ["reply_unreadable"]
    assert "3 replies, the last: there is no JSON in it: I would" in got.rejected["evidence"][0]


def test_json_in_a_code_fence_is_read_and_an_error_of_the_server_is_not_a_reply(
    tmp_path: Path, judge: Callable[[Reply], Judges]
) -> None:
    _write_pdf(tmp_path / "a.pdf", ["Q1? 42.", "Q3? 42."])

    def reply(prompt: str, sample: int) -> str:
        broken = "Q3?" in prompt and "Find" in prompt
        return "HTTP 500" if broken else f"Here:\n```json\n{_careful(prompt, sample)}\n```"

    got = _read(tmp_path, judge(reply), pages=1, overlap=0)
    assert got.texts == ["Refined Q1?"] and got.reasons == ["judge_failed"]
    assert "HTTP 500" in got.rejected["evidence"][0]
    with pytest.raises(SourceError, match=r"a\.pdf: judge: all 1 requests failed; the last error: HTTP 503"):
        _read(tmp_path, judge(lambda *_: "HTTP 503"), name="other", attempts=1)


def test_a_real_judge_that_cannot_do_it_makes_no_question(
    tmp_path: Path, lake: Lake, pool: EnginePool, untrained_model: Path
) -> None:
    _write_pdf(tmp_path / "a.pdf", ["1 + 1 = 2"])
    (tmp_path / "short.md").write_text("{text}")  # the model has room for 1,024 tokens
    sampling = Sampling(max_tokens=4)  # no room for a whole reply
    reference = Judge(name="judge", model=str(untrained_model), engine="transformers", sampling=sampling)
    model, spent = locate(reference, Path()), Usage()
    with pytest.raises(SourceError, match=r"none of its 1 rows has a question.*reply_unreadable 1 times.*3 replies"):
        _read(
            tmp_path,
            lambda _: ledger_client(lake, pool, model, sampling, spent, Purpose(), print),
            extract_prompt="short.md",
        )
    assert spent.failed == 3  # attempts


def test_files_and_pages_that_cannot_be_read_are_quarantined(tmp_path: Path, judge: Callable[[Reply], Judges]) -> None:
    _write_pdf(tmp_path / "a.pdf", ["Q1? 42."])
    _write_pdf(tmp_path / "scan.pdf", [""])
    _write_pdf(tmp_path / "secret.pdf", ["Q9? 42."], password="hidden")
    (tmp_path / "web.pdf").write_bytes(b"<html>404</html>")
    got = _read(tmp_path, judge(_careful))
    assert got.texts == ["Refined Q1?"]
    reasons = {json.loads(row["origin"])["file"]: row["reason"] for row in got.rejected.iter_rows(named=True)}
    assert reasons == {"scan.pdf": "no_text", "secret.pdf": "not_a_pdf", "web.pdf": "not_a_pdf"}


def test_a_prompt_without_its_field_and_a_missing_one_say_what_there_is(
    tmp_path: Path, judge: Callable[[Reply], Judges]
) -> None:
    _write_pdf(tmp_path / "a.pdf", ["Q1? 42."])
    (tmp_path / "mine.md").write_text("What is in it?")
    with pytest.raises(SourceError, match=r"extract_prompt: the prompt mine\.md has no \{text\} in it"):
        _read(tmp_path, judge(_careful), extract_prompt="mine.md")
    with pytest.raises(SourceError, match=r"filter_prompt: the prompt file .*no\.md cannot be read.*pdf_filter_v1"):
        _read(tmp_path, judge(_careful), filter_prompt="no.md")


def test_exponents_and_indexes_of_a_page_survive(tmp_path: Path) -> None:
    from pypdf import PdfReader

    from openthoughts_dagster.sources.pdf_text import page_text

    case = Path(__file__).parent / "data" / "cases" / "sup.pdf"
    assert page_text(PdfReader(case).pages[0]).startswith("Problem 1. A sample holds 3.0 x 10^6 atoms")
    assert "x^2 = 9" in page_text(PdfReader(case).pages[0])
    _write_pdf(tmp_path / "a.pdf", ["No exponent here, 12 of them."])
    page = PdfReader(tmp_path / "a.pdf").pages[0]
    assert page_text(page) == page.extract_text()
