"""Samples, repeats, resuming: what happens to rows between their reader and the lake."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from openthoughts_dagster.lake import RAW_SOURCES, Lake, batches_hash
from openthoughts_dagster.sources import ReaderContext, SourceError, read_source
from openthoughts_dagster.sources import staging as staging_module
from openthoughts_dagster_tests.sources.helpers import Read, lines, read, recipe_in, source_of


def _write(folder: Path, files: int = 3, rows: int = 50) -> None:
    for file in range(files):
        (folder / f"{file}.jsonl").write_bytes(lines(*({"question": f"q{file}-{n}"} for n in range(rows))))


def _read(folder: Path, **more: Any) -> Read:
    return read(folder, {"reader": "files", "path": "*.jsonl"} | more)


def test_a_limit_takes_a_seeded_sample_over_all_files(tmp_path: Path) -> None:
    _write(tmp_path)
    whole = _read(tmp_path).texts
    first, again = (_read(tmp_path, limit=30).texts for _ in range(2))
    assert first == again and len(first) == 30
    assert first == [text for text in whole if text in set(first)] != whole[:30]  # in order, not the first
    assert {text[1] for text in first} == {"0", "1", "2"}
    assert _read(tmp_path, limit=1000).texts == whole
    assert set(_read(tmp_path, limit=20).texts) < set(first)  # a larger sample keeps the questions of a smaller one


def test_a_sample_is_uniform(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(lines(*({"question": f"{n:03}"} for n in range(400))))
    times = dict.fromkeys(range(4), 0)
    for seed in range(40):
        for text in read(tmp_path, {"name": f"s{seed}", "reader": "files", "path": "a.jsonl", "limit": 40}).texts:
            times[int(text) // 100] += 1
    assert sum(times.values()) == 1600 and all(340 < count < 460 for count in times.values())


def test_a_sample_counts_bad_rows_too(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(lines(*({"question": f"q{n}"} if n % 2 else {} for n in range(100))))
    got = _read(tmp_path, limit=40)
    assert got.staged.rows_in == 40 and got.questions.height > 5 < got.rejected.height


def test_a_text_that_occurs_again_gets_an_id_of_its_own_across_files(tmp_path: Path) -> None:
    _write(tmp_path, files=2, rows=2)
    (tmp_path / "z.jsonl").write_bytes(lines({"question": "q0-1"}, {"question": "q0-1"}, {"question": "new"}))
    got = _read(tmp_path).questions
    assert got["question_id"].n_unique() == got.height == 7
    (tmp_path / "z.jsonl").unlink()
    assert got["question_id"].to_list()[:4] == _read(tmp_path).questions["question_id"].to_list()


def test_an_attempt_that_failed_leaves_its_finished_files_to_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _write(tmp_path)
    (tmp_path / "9.jsonl.gz").write_bytes(b"no gzip at all")
    logged: list[str] = []
    with pytest.raises(SourceError, match=r"9\.jsonl\.gz cannot be read"):
        read(tmp_path, {"reader": "files", "path": "*.jsonl*"}, log=logged.append)
    assert [line.rpartition(" ")[0] for line in logged] == [f"mine: shard {n} of 4 read:" for n in (1, 2, 3)]
    (tmp_path / "9.jsonl.gz").unlink()
    (tmp_path / "1.jsonl").write_bytes(lines({"question": "changed"}))
    logged.clear()
    got = read(tmp_path, {"reader": "files", "path": "*.jsonl*"}, log=logged.append)
    assert ["kept from an earlier attempt" in line for line in logged] == [True, False, True]
    assert got.questions.height == 101
    assert not list((tmp_path / "staging").glob("mine/*"))  # what is in the lake needs no second copy


def test_other_settings_read_everything_again(tmp_path: Path) -> None:
    _write(tmp_path, files=1)
    with pytest.raises(SourceError, match="none of its 50 rows"):
        _read(tmp_path, columns={"question": "text"})
    assert _read(tmp_path).questions.height == 50


def test_two_runs_do_not_stage_one_source_at_once(tmp_path: Path) -> None:
    _write(tmp_path, files=1)
    source, recipe = source_of({"reader": "files", "path": "*.jsonl"}), recipe_in(tmp_path)
    with (
        read_source(source, recipe, ReaderContext(tmp_path / "staging")),
        pytest.raises(SourceError, match="another run is reading it"),
        read_source(source, recipe, ReaderContext(tmp_path / "staging")),
    ):
        pass


def test_the_lake_takes_all_batches_in_one_commit_and_the_hash_ignores_their_order(
    tmp_path: Path, lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(staging_module, "_BATCH_ROWS", 7)
    _write(tmp_path)
    source, recipe = source_of({"reader": "files", "path": "*.jsonl"}), recipe_in(tmp_path)
    with read_source(source, recipe, ReaderContext(tmp_path / "staging")) as staged:
        assert sum(1 for _ in staged.questions()) == 24
        for _ in range(2):
            assert lake.replace_batches(RAW_SOURCES, staged.questions, source="mine") == 150
        whole = pl.concat(staged.questions())
    assert lake.scan(RAW_SOURCES, source="mine").collect().sort("question_id").equals(whole.sort("question_id"))
    assert batches_hash([whole]) == batches_hash([whole[100:], whole[:100].reverse()])
    assert batches_hash([whole]) != batches_hash([whole, whole[:1]]) != batches_hash([whole[1:]])


def test_a_batch_that_fails_leaves_the_partition_as_it_was(tmp_path: Path, lake: Lake) -> None:
    _write(tmp_path, files=1)
    good = _read(tmp_path).questions
    lake.replace(RAW_SOURCES, good, source="mine")

    def broken() -> Any:
        yield good[:5]
        raise SourceError("the disk is gone")

    with pytest.raises(SourceError, match="the disk is gone"):
        lake.replace_batches(RAW_SOURCES, broken, source="mine")
    with pytest.raises(ValueError, match="rows of another source"):
        lake.replace_batches(
            RAW_SOURCES, lambda: [good[:5], good[:5].with_columns(source=pl.lit("other"))], source="mine"
        )
    assert lake.scan(RAW_SOURCES).collect().height == 50
    assert lake.replace_batches(RAW_SOURCES, list, source="mine") == 0
    assert lake.scan(RAW_SOURCES).collect().is_empty()


def test_origin_says_file_and_line(tmp_path: Path) -> None:
    _write(tmp_path, files=2, rows=1)
    assert [json.dumps(origin) for origin in _read(tmp_path).origins()] == [
        '{"file": "0.jsonl", "line": 1}',
        '{"file": "1.jsonl", "line": 1}',
    ]


_READ = """
import signal, sys
from pathlib import Path
from openthoughts_dagster.sources.sampling import Lottery
from openthoughts_dagster_tests.sources.helpers import read
draw, rows = Lottery.draw, 0
def draw_or_wait(self, number):
    global rows
    rows += 1
    if rows == 3 * 1500 + 700:
        print("in the middle of the fourth file", flush=True)
        signal.pause()
    return draw(self, number)
Lottery.draw = draw_or_wait
read(Path(sys.argv[1]), {"reader": "files", "path": "*.jsonl", "limit": 3000})
"""


def test_a_killed_reading_goes_on_where_it_was_and_ends_in_the_same_rows(tmp_path: Path) -> None:
    _write(tmp_path, files=6, rows=1500)
    with subprocess.Popen([sys.executable, "-c", _READ, str(tmp_path)], stdout=subprocess.PIPE, text=True) as reading:
        assert reading.stdout is not None and reading.stdout.readline() == "in the middle of the fourth file\n"
        reading.kill()
    logged: list[str] = []
    got = read(tmp_path, {"reader": "files", "path": "*.jsonl", "limit": 3000}, log=logged.append)
    assert ["kept from an earlier attempt" in line for line in logged] == [True] * 3 + [False] * 3
    assert got.questions.equals(_read(tmp_path, limit=3000).questions) and got.questions.height == 3000
