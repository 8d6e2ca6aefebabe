"""Files of every format: what is no question is quarantined with its reason, and the rest goes on."""

import gzip
import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from openthoughts_dagster.sources import SourceError
from openthoughts_dagster_tests.sources.helpers import PACK, Read, lines, read


def _files(folder: Path, path: str = "q.jsonl", **more: Any) -> Read:
    return read(folder, {"reader": "files", "path": path} | more)


def test_bad_rows_are_quarantined_with_their_reason_and_the_rest_goes_on(tmp_path: Path) -> None:
    good = lines({"question": "1 + 1?", "answer": "2", "level": 3})
    bad = [
        b"{not json\n",
        b"\xff\xfe\n",
        b"[1]\n",
        *(lines(r) for r in ({"q": 1}, {"question": " "}, {"question": 7})),
    ]
    (tmp_path / "q.jsonl").write_bytes(b"\xef\xbb\xbf" + good + b"".join(bad) + b"\n" + good)

    got = _files(tmp_path, columns={"question": "question", "answer": "answer"})

    assert got.staged.rows_in == 8 == got.questions.height + got.rejected.height
    assert got.reasons == ["not_json", "not_utf8", "not_an_object", *["no_question"] * 3]
    assert got.questions["question_id"].n_unique() == 2  # the same text twice: dedup will say so, not the reader
    first = got.questions.row(0, named=True)
    assert first["reference_answer"] == "2" and json.loads(first["metadata"]) == {"level": 3}
    assert json.loads(first["origin"])["line"] == 1
    assert "q.jsonl" in got.rejected["origin"][0]


def test_every_format_and_compression_gives_the_same_rows(tmp_path: Path) -> None:
    rows = [{"question": f'What is {n}, {n} and "{n}"?', "answer": str(n)} for n in range(3)]
    frame, text = pl.DataFrame(rows), lines(*rows)
    (tmp_path / "a.jsonl").write_bytes(text)
    (tmp_path / "a.json").write_text(json.dumps(rows))
    (tmp_path / "b.json").write_text(json.dumps({"data": {"items": rows}}))
    frame.write_csv(tmp_path / "a.csv")
    frame.write_csv(tmp_path / "a.tsv", separator="\t")
    frame.write_parquet(tmp_path / "a.parquet")
    for ending, pack in PACK.items():
        (tmp_path / f"a.jsonl.{ending}").write_bytes(pack(text))
    expected = [row["question"] for row in rows]
    for path in (
        "a.jsonl",
        "a.json",
        "a.csv",
        "a.tsv",
        "a.parquet",
        *(f"a.jsonl.{ending}" for ending in PACK),
    ):
        got = _files(tmp_path, path, columns={"question": "question", "answer": "answer"})
        assert (got.texts, got.rejected.height) == (expected, 0), path
        assert got.questions["reference_answer"].to_list() == ["0", "1", "2"]
    assert _files(tmp_path, "b.json", records="data.items").texts == expected


def test_a_glob_reads_below_its_folder_and_names_files_alike_on_every_machine(tmp_path: Path) -> None:
    for name in ("b/x.jsonl.gz", "a.jsonl", "c/d/y.jsonl"):
        (tmp_path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        text = lines({"question": name})
        (tmp_path / "in" / name).write_bytes(gzip.compress(text) if name.endswith("gz") else text)
    got = _files(tmp_path, "in/**/*.jsonl*")
    assert got.texts == ["a.jsonl", "b/x.jsonl.gz", "c/d/y.jsonl"]
    assert [origin["file"] for origin in got.origins()] == got.texts


def test_any_file_system_that_fsspec_knows_is_read(tmp_path: Path) -> None:
    import fsspec

    with fsspec.open("memory://bucket/one.jsonl.gz", "wb", compression="gzip") as file:
        file.write(lines({"question": "far away"}))
    assert _files(tmp_path, "memory://bucket/*.jsonl.gz").texts == ["far away"]
    with pytest.raises(SourceError, match=r"nosuch://a\.jsonl cannot be opened.*each protocol its package"):
        _files(tmp_path, "nosuch://a.jsonl")


def test_a_template_makes_a_question_of_several_columns(tmp_path: Path) -> None:
    (tmp_path / "q.jsonl").write_bytes(lines({"title": "T", "body": "B"}, {"title": "T"}))
    got = _files(tmp_path, columns={"question": "{title}\n\n{body}"})
    assert got.texts == ["T\n\nB"] and got.rejected.height == 1


def test_metadata_keeps_the_columns_that_are_named(tmp_path: Path) -> None:
    pl.DataFrame({"question": ["q"], "level": [3], "solution": ["very long"], "meta": [{"id": 7}]}).write_parquet(
        tmp_path / "q.parquet"
    )
    got = _files(tmp_path, "q.parquet", columns={"metadata": ["level", "meta.id"]})
    assert json.loads(got.questions["metadata"][0]) == {"level": 3, "meta.id": 7}


@pytest.mark.parametrize(
    ("condition", "kept"),
    [
        ({"column": "kind", "equals": "a"}, ["q0", "q2"]),
        ({"column": "kind", "one_of": ["b", "c"]}, ["q1"]),
        ({"column": "level", "at_least": 1}, ["q1", "q2"]),
        ({"column": "level", "at_most": 1}, ["q0", "q1"]),
        ({"column": "tags", "equals": "y"}, ["q1"]),
        ({"column": "{kind}{level}", "matches": "^a[0-9]$"}, ["q0", "q2"]),
    ],
)
def test_filters_leave_out_rows_and_count_them(tmp_path: Path, condition: dict[str, Any], kept: list[str]) -> None:
    kinds = [
        ("a", ["x"]),
        ("b", ["x", "y"]),
        ("a", []),
    ]
    rows = [{"question": f"q{n}", "kind": kind, "level": n, "tags": tags} for n, (kind, tags) in enumerate(kinds)]
    (tmp_path / "q.jsonl").write_bytes(lines(*rows, {"question": "of another shape"}))
    got = _files(tmp_path, where=[condition])
    assert got.texts == kept and got.staged.rows_in == len(kept)
    assert sum(got.staged.counts.filtered.values()) == 4 - len(kept)


def test_filters_that_leave_nothing_say_which_one_and_what_columns_there_are(tmp_path: Path) -> None:
    (tmp_path / "q.jsonl").write_bytes(lines({"question": "q", "kind": "a"}))
    with pytest.raises(SourceError, match=r"leave none of 1 rows; 'sort equals a' leaves out 1 .* kind, question"):
        _files(tmp_path, where=[{"column": "sort", "equals": "a"}])


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (None, r"mine.*no file at .*q\.jsonl"),
        (b"", "mine: it has no rows"),
        (
            lines({"prompt": "a", "id": 1}),
            "none of its 1 rows has a question in 'question'.*their columns are id, prompt",
        ),
        (b"no json at all\n", "none of its 1 rows has a question.*not_json"),
    ],
)
def test_a_file_without_questions_says_what_is_wrong(tmp_path: Path, content: bytes | None, says: str) -> None:
    if content is not None:
        (tmp_path / "q.jsonl").write_bytes(content)
    with pytest.raises(SourceError, match=says):
        _files(tmp_path)


def test_a_folder_and_an_unknown_ending_say_what_to_write_instead(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "q.txt").write_text("hello")
    with pytest.raises(SourceError, match=r"in is a folder; name its files, as .*in/\*\.jsonl"):
        _files(tmp_path, "in")
    with pytest.raises(SourceError, match=r"q\.txt ends in no format.*\.jsonl, \.ndjson, \.json, \.csv"):
        _files(tmp_path, "q.txt")


def test_texts_are_composed_outside_code_and_lines_end_alike(tmp_path: Path) -> None:
    split, whole = "e\u0301", "\u00e9"
    text = f"\ufeff\r\n  indented {split}\r\n```py\nx = '{split}'\t \n```\nthen `{split}` and {split} \n\n"
    (tmp_path / "q.jsonl").write_bytes(lines({"question": text, "answer": f" {split}\r\n"}))
    columns = {"question": "question", "answer": "answer"}
    got = _files(tmp_path, columns=columns).questions.row(0, named=True)
    assert got["question"] == f"  indented {whole}\n```py\nx = '{split}'\t \n```\nthen `{split}` and {whole}"
    assert got["reference_answer"] == f" {whole}"
    kept = _files(tmp_path, columns=columns, verbatim=True).questions.row(0, named=True)
    assert (kept["question"], kept["reference_answer"]) == (text, f" {split}\r\n")


def test_programs_keep_their_white_space(tmp_path: Path) -> None:
    sample = Path(__file__).parent / "data" / "humaneval_sample.jsonl.gz"  # HumanEval, MIT: humaneval_LICENSE
    columns = {"question": "prompt", "answer": "canonical_solution", "metadata": ["task_id"]}
    rows = [json.loads(line) for line in gzip.decompress(sample.read_bytes()).splitlines()]
    kept = _files(tmp_path, str(sample), columns=columns, verbatim=True)
    assert kept.texts == [row["prompt"] for row in rows]
    clean = _files(tmp_path, str(sample), columns=columns)
    assert clean.texts == [row["prompt"].lstrip("\n").rstrip() for row in rows]
    assert clean.questions["reference_answer"].to_list() == [row["canonical_solution"].rstrip() for row in rows]
    assert clean.questions["reference_answer"][0].startswith("    for idx, elem")
