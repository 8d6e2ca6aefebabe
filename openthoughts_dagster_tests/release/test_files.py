"""The folder of a version: what others load from it, and that it is complete or absent."""

import os
import resource
import signal
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow.parquet as pq
import pytest
import yaml

from openthoughts_dagster.lake import COMPLETIONS, RELEASE_VERSIONS, Lake, text_hash
from openthoughts_dagster.release import MadeRelease, ReleaseError, ReleasePlace, make_release
from openthoughts_dagster.release.columns import CONFIGS, turn_texts
from openthoughts_dagster.release.make import latest_version
from openthoughts_dagster.release.ordering import ordered_texts
from openthoughts_dagster.release.shards import ShardWriter
from openthoughts_dagster.storage import Folders
from openthoughts_dagster_tests.object_store import ObjectStore
from openthoughts_dagster_tests.release.sums import SHOP, SUMS, TEACHER, fill_source, small_lake, small_recipe, sums
from openthoughts_dagster_tests.release.test_choosing import NOTHING


def make(lake: Lake, folder: Path, **release: Any) -> MadeRelease:
    """Make the release of the small recipe in `folder`."""
    place = ReleasePlace(str(folder / "releases"), folder / "releases", Folders(folder / "cache"))
    recipe = small_recipe(folder / "recipe", **release)
    return make_release(lake, recipe, TEACHER, place, {"OPENTHOUGHTS_DATA": str(folder / "recipe")}, benchmarks=NOTHING)


def test_every_config_loads_with_datasets_and_polars(tmp_path: Path) -> None:
    from datasets import load_dataset

    lake = small_lake(tmp_path / "lake", count=20)
    fill_source(lake, SHOP, {**sums(5000, 19), "Unfinished?": [("\nstill thinking", ""), (None, "42")]})
    made = make(lake, tmp_path, majority=True)
    folder, options = made.path, {"cache_dir": str(tmp_path / "hf"), "split": "train"}

    rows = load_dataset(folder, **options)
    assert list(rows.features) == ["difficulty", "source", "domain", "conversations"]
    assert str(rows.features["difficulty"]) == "Value('int64')" and len(rows) == 80
    [turn] = [row["conversations"] for row in rows if "1003 + 1004" in row["conversations"][0]["value"]][:1]
    assert [(part["from"], part["value"]) for part in turn] == [
        ("human", "What is 1003 + 1004?"),
        ("gpt", f"<think>\n{turn[1]['value'].split(chr(10))[1]}\n</think>\n\n2007"),
    ]
    texts = {row["conversations"][1]["value"] for row in rows if row["conversations"][0]["value"] == "Unfinished?"}
    assert texts == {"<think>\nstill thinking", "42"}

    messages = load_dataset(folder, "messages", **options)
    same = [[turn["value"] for turn in row["conversations"]] for row in rows]
    assert [[turn["content"] for turn in row["messages"]] for row in messages] == same
    assert messages[0]["messages"][0]["role"] == "user" and messages[0]["messages"][1]["role"] == "assistant"
    questions = load_dataset(folder, "questions", **options)
    assert len(questions) == 40 and {len(row["answers"]) for row in questions} == {2}
    answers = {row["question"]: row["answers"] for row in questions}
    assert set(answers["What is 1003 + 1004?"]) == {r[1] for r in same if r[0] == "What is 1003 + 1004?"}
    metadata = pl.read_parquet(f"{folder}/metadata/*.parquet")
    assert metadata["source"].to_list() == list(rows["source"]) and set(metadata["teacher"]) == {TEACHER}
    known = [text_hash(row[0]) for row in same]
    assert metadata["question_id"].to_list() == known
    assert not (Path(folder) / "rejected").exists()  # nothing was, and `datasets` cannot have an empty config
    head = yaml.safe_load((Path(folder) / "README.md").read_text().split("---\n")[1])
    assert (head["license"], head["size_categories"]) == ("apache-2.0", ["n<1K"])
    assert [info["config_name"] for info in head["dataset_info"]] == list(CONFIGS)[:-1]
    assert str(tmp_path) not in (Path(folder) / "release.json").read_text()


def test_what_was_left_out_loads_too(tmp_path: Path) -> None:
    from datasets import load_dataset

    made = make(small_lake(tmp_path / "lake", count=9), tmp_path, sizes={SUMS: 5})
    rows = load_dataset(made.path, "rejected", cache_dir=str(tmp_path / "hf"), split="train")
    assert len(rows) == 4 and set(rows["reason"]) == {"not_drawn"} and rows[0]["sample_index"] is None


def test_files_have_the_stated_size_with_page_index_and_statistics(tmp_path: Path) -> None:
    config = CONFIGS["default"]
    rows = pl.DataFrame(
        {
            "difficulty": pl.Series([None] * 3000, dtype=pl.Int64),
            "source": "s",
            "domain": "math",
            "question": [f"q{n}" for n in range(3000)],
            "text": [f"{n:05}" * 200 for n in range(3000)],
        }
    )
    sizes = config.sizes(rows)
    for name, steps in (("whole", [3000]), ("parts", [7, 1000, 1, 1992])):
        writer, start = ShardWriter(tmp_path / name, config, 1_000_000), 0
        for step in steps:
            part = rows[start : start + step]
            writer.write(config.table(part, turn_texts(part)), sizes[start : start + step])
            start += step
        files = writer.close()
    assert [path.name for path in files] == [f"train-{n:05}-of-00004.parquet" for n in range(4)]
    for path in files:
        assert path.read_bytes() == (tmp_path / "whole" / path.name).read_bytes()
        part = pq.ParquetFile(path)
        column = part.metadata.row_group(0).column(1)
        assert column.has_column_index and column.has_offset_index and column.statistics.min == "s"
    raw = [sum(sizes[a:b]) for a, b in zip([0, *_ends(files)], _ends(files), strict=False)]
    assert all(abs(size - 1_000_000) < 2000 for size in raw[:-1])


def _ends(files: list[Path]) -> list[int]:
    return np.cumsum([pq.ParquetFile(path).metadata.num_rows for path in files]).tolist()


def test_texts_are_joined_in_any_order_in_small_buckets(tmp_path: Path) -> None:
    lake = small_lake(tmp_path / "lake", count=50, samples=3)
    known = lake.scan(COMPLETIONS).select("model", "completion_id", "completion_tokens", "answer", "key").collect()
    rows = known.sample(fraction=1, shuffle=True, seed=1)
    group = pl.int_range(pl.len(), dtype=pl.Int64) // 7
    wanted = rows.drop("answer").with_columns(group=group)
    pages = list(ordered_texts(lake, wanted, tmp_path, bucket_bytes=4000, together=["group"]))
    assert len(pages) > 20 and pl.concat(pages).select(rows.columns).equals(rows)
    assert sum(page["group"].n_unique() for page in pages) == wanted["group"].n_unique()
    assert list(tmp_path.glob("texts-*")) == []
    with pytest.raises(ReleaseError, match="the ledger lacks 1 completions of the release, such as lost"):
        list(ordered_texts(lake, pl.concat([wanted, wanted[:1].with_columns(completion_id=pl.lit("lost"))]), tmp_path))


def test_a_second_time_makes_nothing_new(tmp_path: Path) -> None:
    lake = small_lake(tmp_path / "lake", count=5)
    first, second = make(lake, tmp_path), make(lake, tmp_path)
    assert (first.version, first.path) == (second.version, second.path)
    assert (first.new, second.new) == (True, False) and second.record == first.record
    assert lake.scan(RELEASE_VERSIONS).collect().height == 1
    assert make(lake, tmp_path, seed=9).version != first.version
    assert make(lake, tmp_path, title="Other").version == first.version  # the rows decide
    rows = lake.scan(RELEASE_VERSIONS).collect().with_columns(pl.col("made_at") + timedelta(days=1))
    lake.replace(RELEASE_VERSIONS, rows, teacher=TEACHER)  # as if the clock was set back since then
    newest = make(lake, tmp_path, seed=10)
    assert latest_version(lake, TEACHER) == (newest.version, newest.path)


def test_a_full_disk_leaves_no_half_release(tmp_path: Path) -> None:
    lake = small_lake(tmp_path / "lake", count=200)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    make(lake, tmp_path / "other")  # the tables of the lake are written, so that only the files meet the limit
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (6000, before[1]))
        with pytest.raises(ReleaseError, match=r"could not be written below .*worked: .*GiB are free there"):
            make(lake, tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    parent = tmp_path / "releases" / "sums" / TEACHER
    assert [path.name for path in parent.iterdir() if not path.name.endswith(".lock")] == []
    assert make(lake, tmp_path).new


_KILLED = """
import os, sys
from pathlib import Path
from openthoughts_dagster.lake import Lake
from openthoughts_dagster.release import files
from openthoughts_dagster_tests.release.test_files import make
if sys.argv[2] == "die":
    files.manifest_of = lambda rows: os.kill(os.getpid(), 9)  # the last file of the folder
folder = Path(sys.argv[1])
print(make(Lake(folder / "lake"), folder).new)
"""


@pytest.mark.faults
def test_a_killed_process_leaves_no_half_release_and_two_at_once_make_one(tmp_path: Path) -> None:
    small_lake(tmp_path / "lake", count=50)
    run = [sys.executable, "-c", _KILLED, str(tmp_path)]
    environment = dict(os.environ)
    assert subprocess.run([*run, "die"], env=environment, timeout=120).returncode == -9
    parent = tmp_path / "releases" / "sums" / TEACHER
    assert [path for path in parent.iterdir() if (path / "release.json").exists()] == []
    both = [subprocess.Popen([*run, "live"], env=environment, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    said = [process.communicate(timeout=120)[0].strip() for process in both]
    assert [process.returncode for process in both] == [0, 0] and "True" in said
    assert len([path for path in parent.iterdir() if (path / "release.json").exists()]) == 1
    assert [path.name for path in parent.iterdir() if path.name.endswith(".unfinished")] == []
    versions = Lake(tmp_path / "lake").scan(RELEASE_VERSIONS).collect()
    assert versions["version"].n_unique() == 1


def test_a_release_in_an_object_store_is_there_as_a_whole(tmp_path: Path, store: ObjectStore) -> None:
    lake = small_lake(tmp_path / "lake", count=3)
    place = ReleasePlace("s3://files/releases", tmp_path / "work", Folders(tmp_path / "cache"))
    recipe = small_recipe(tmp_path / "recipe")
    made = make_release(lake, recipe, TEACHER, place, benchmarks=NOTHING)
    assert made.path == f"s3://files/releases/sums/worked/{made.version}"
    local = place.folders.fetch(made.path)
    assert pl.read_parquet(local / "data" / "*.parquet").height == 12
    assert not make_release(lake, recipe, TEACHER, place, benchmarks=NOTHING).new
    older = small_recipe(tmp_path / "recipe", against=[made.path])
    fill_source(lake, SUMS, sums(1000, 4))
    rows = make_release(lake, older, TEACHER, place, benchmarks=NOTHING).chosen.rows
    assert rows.select("source", "question_id").unique().height == 1
