"""Several processes compact one table at once: each row stays there once."""

import multiprocessing
from pathlib import Path

import polars as pl
import pytest

from openthoughts_dagster.lake import WATCHED_SOURCES, Lake
from openthoughts_dagster.lake.claims import claim

FILES = 12


def _rows(number: int) -> pl.DataFrame:
    row = dict.fromkeys(WATCHED_SOURCES.columns, str(number)) | {"number": number}
    return pl.DataFrame([row], schema=WATCHED_SOURCES.schema)


def _compact(root: str, start: object, results: object) -> None:
    lake = Lake(root)
    start.wait()  # type: ignore[attr-defined]
    results.put(lake.compact(WATCHED_SOURCES, files=3))  # type: ignore[attr-defined]


def test_compactions_at_once_double_no_row(tmp_path: Path) -> None:
    """Two that deltalake itself lets through leave every row twice, which is a bill twice and an answer twice."""
    lake, spawn = Lake(tmp_path), multiprocessing.get_context("spawn")
    for number in range(FILES):
        lake.append(WATCHED_SOURCES, _rows(number))
    start, results = spawn.Barrier(3), spawn.Queue()
    processes = [spawn.Process(target=_compact, args=(str(tmp_path), start, results)) for _ in range(3)]
    for process in processes:
        process.start()
    done = [results.get(timeout=120) for _ in processes]
    for process in processes:
        process.join()

    assert sorted(lake.scan(WATCHED_SOURCES).collect()["number"]) == list(range(FILES))
    assert done.count(True) == 1


def test_a_claim_is_one_process_s_until_it_ends(tmp_path: Path) -> None:
    address = str(tmp_path / "claims")
    with (
        claim(address, {}, "sweep") as ours,
        claim(address, {}, "sweep") as theirs,
        claim(address, {}, "dust") as other,
    ):
        assert ours and not theirs and other
    with pytest.raises(RuntimeError), claim(address, {}, "sweep") as again:
        assert again
        raise RuntimeError
    with claim(address, {}, "sweep") as after_the_failure:
        assert after_the_failure
