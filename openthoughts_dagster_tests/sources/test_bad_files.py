"""Broken and hostile files: each bad row has its reason, a file that is not whole is an error, memory stays bounded."""

import gzip
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from openthoughts_dagster.sources import SourceError, csv_format
from openthoughts_dagster_tests.sources.helpers import PACK, Read, lines, read

GOOD = {"question": "What is 1 + 1?", "answer": "2"}


def _files(folder: Path, path: str, **more: Any) -> Read:
    return read(folder, {"reader": "files", "path": path} | more)


@pytest.mark.parametrize("ending", PACK)
def test_a_compressed_file_that_was_cut_off_is_an_error(tmp_path: Path, ending: str) -> None:
    whole = PACK[ending](lines(*({"question": f"q{n} {n * 7919}"} for n in range(5000))))
    (tmp_path / f"a.jsonl.{ending}").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(SourceError, match=rf"mine\.path: .*a\.jsonl\.{ending} cannot be read.*copy it again"):
        _files(tmp_path, f"a.jsonl.{ending}")


def test_a_compressed_file_that_is_something_else_is_an_error(tmp_path: Path) -> None:
    for ending in ("gz", "zst"):
        (tmp_path / f"a.jsonl.{ending}").write_bytes(lines(GOOD))
        with pytest.raises(SourceError, match=rf"a\.jsonl\.{ending} cannot be read"):
            _files(tmp_path, f"a.jsonl.{ending}")


def test_parquet_files_of_different_schemas_are_read_each_by_its_own(tmp_path: Path) -> None:
    pl.DataFrame({"question": ["a"], "level": [1], "tags": [["x"]]}).write_parquet(tmp_path / "1.parquet")
    pl.DataFrame({"level": ["hard"], "question": ["b"], "extra": [{"k": 1}]}).write_parquet(tmp_path / "2.parquet")
    pl.DataFrame({"prompt": ["c"]}).write_parquet(tmp_path / "3.parquet")
    pl.DataFrame({"question": [7]}).write_parquet(tmp_path / "4.parquet")
    got = _files(tmp_path, "*.parquet")
    assert got.texts == ["a", "b"]
    assert [json.loads(m)["level"] for m in got.questions["metadata"]] == [1, "hard"]
    assert got.reasons == ["no_question", "no_question"]
    assert got.staged.counts.columns == ["extra", "level", "prompt", "question", "tags"]
    (tmp_path / "5.parquet").write_bytes(b"PAR1 and nothing more")
    with pytest.raises(SourceError, match=r"5\.parquet cannot be read"):
        _files(tmp_path, "*.parquet")


def test_broken_utf8_costs_its_own_row(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(b'{"question": "\xff\xfe"}\n' + lines(GOOD) + b'{"question": "\\ud800"}\n')
    assert _files(tmp_path, "a.jsonl").reasons == ["not_utf8", "not_utf8"]
    (tmp_path / "a.csv").write_bytes(b"question,answer\nok,1\nbr\xffoken,2\nfine,3\xff\n")
    got = _files(tmp_path, "a.csv")
    assert got.texts == ["ok"] and got.reasons == ["not_utf8", "not_utf8"]


def test_csv_rows_that_do_not_fit_the_header_are_quarantined(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(csv_format, "LONGEST_ROW", 200)
    text = 'question,answer\nok,1\ntoo,many,fields\nfew\n"multi\nline",2\n"bad"quote,3\n"open,4\n' + "x,y\n" * 100
    (tmp_path / "a.csv").write_text(text)
    got = _files(tmp_path, "a.csv")
    assert got.texts[:2] == ["ok", "multi\nline"]
    assert got.reasons == ["not_csv"] * 4  # the mark that is never closed costs its own line
    assert len(got.texts) == 102
    (tmp_path / "a.csv").write_text("question,question\na,b\n")
    with pytest.raises(SourceError, match="a column name occurs twice"):
        _files(tmp_path, "a.csv")


def test_json_that_breaks_off_or_nests_deep_is_said_where(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('[{"question": "a"}, {"question": ')
    with pytest.raises(SourceError, match=r"a\.json cannot be read"):
        _files(tmp_path, "a.json")
    (tmp_path / "b.json").write_text('[{"question": "a"}, 3, "x"]')
    assert _files(tmp_path, "b.json").reasons == ["not_an_object", "not_an_object"]
    (tmp_path / "c.jsonl").write_bytes(b'{"question": ' + b"[" * 100_000 + b"\n" + lines(GOOD))
    assert _files(tmp_path, "c.jsonl").reasons == ["too_deep"]


def test_a_source_whose_every_row_is_bad_says_why_and_how_often(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(b"{\n" * 3 + b"[]\n")
    with pytest.raises(SourceError, match=r"none of its 4 rows .*not_json 3 times, not_an_object 1 times.*the first: "):
        _files(tmp_path, "a.jsonl")


@pytest.mark.parametrize("path", ["a.jsonl", "a.csv", "a.json", "a.parquet", "a.jsonl.gz"])
def test_zero_rows_are_an_error_that_says_so(tmp_path: Path, path: str) -> None:
    content = {"a.csv": b"question,answer\n", "a.json": b"[]", "a.jsonl.gz": gzip.compress(b"")}.get(path, b"")
    if path == "a.parquet":
        pl.DataFrame(schema={"question": pl.String}).write_parquet(tmp_path / path)
    else:
        (tmp_path / path).write_bytes(content)
    with pytest.raises(SourceError, match="mine: it has no rows"):
        _files(tmp_path, path)


_IN_LITTLE_MEMORY = """
import resource, sys
from pathlib import Path
import polars, pyarrow.parquet, deltalake
from openthoughts_dagster_tests.sources.helpers import read
read(Path(sys.argv[1]) / "warm", {"reader": "files", "path": "../small.jsonl"})
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
got = read(Path(sys.argv[1]), {"reader": "files", "path": sys.argv[2]})
print(got.questions.height, got.reasons, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""


@pytest.mark.parametrize("path", ["a.jsonl", "a.jsonl.gz", "a.csv"])
def test_lines_of_100_megabytes_are_rejected_in_bounded_memory(tmp_path: Path, path: str) -> None:
    (tmp_path / "warm").mkdir()
    (tmp_path / "small.jsonl").write_bytes(lines(GOOD))
    csv = path.endswith("csv")
    head, row = (b"question,answer\n", b"ok,2\n") if csv else (b"", lines(GOOD))
    with gzip.open(tmp_path / path, "wb", 1) if path.endswith("gz") else (tmp_path / path).open("wb") as file:
        file.write(head + row)
        for _ in range(2):
            file.write(b'"' if csv else b'{"question": "')
            for _ in range(100):
                file.write(b"x" * 2**20)
            file.write(b'",y\n' if csv else b'"}\n')
        file.write(row)
    done = subprocess.run(
        [sys.executable, "-c", _IN_LITTLE_MEMORY, str(tmp_path), path], capture_output=True, text=True, check=True
    )
    questions, *reasons, megabytes = done.stdout.split()
    assert (questions, "".join(reasons)) == ("2", "['too_long','too_long']")
    assert int(megabytes) < 90
