"""Datasets from local copies: subsets, commits, shards, and what is said when something is not there."""

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from openthoughts_dagster.sources import SourceError
from openthoughts_dagster_tests.sources.helpers import Read, lines, read
from openthoughts_dagster_tests.sources.hub import COMMIT, write_converted, write_dataset

OTHER = COMMIT[::-1]


def _read(folder: Path, dataset: str = "org/set", **more: Any) -> Read:
    return read(folder, {"reader": "hugging_face", "dataset": dataset} | more, copies=folder / "copies")


def _questions(*texts: str) -> list[dict[str, Any]]:
    return [{"question": text, "level": 1} for text in texts]


def test_a_folder_reads_as_a_dataset_of_the_hub_does(tmp_path: Path) -> None:
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "train.jsonl").write_bytes(lines(*({"input": f"q{n}", "level": n} for n in range(5))))
    columns = {"question": "input"}
    assert _read(tmp_path, "set", columns=columns).texts == [f"q{n}" for n in range(5)]
    with pytest.raises(SourceError, match="has no split 'test'; its splits are train"):
        _read(tmp_path, "set", columns=columns, split="test")
    with pytest.raises(SourceError, match="their columns are input, level"):
        _read(tmp_path, "set")


def test_subsets_and_further_datasets_are_one_source(tmp_path: Path) -> None:
    for subset in ("one", "two", "three"):
        write_dataset(tmp_path / "copies", "org/set", _questions(f"of {subset}"), subset)
    write_dataset(tmp_path / "copies", "org/more", [{"instruction": "elsewhere"}])
    more = [{"dataset": "org/more", "columns": {"question": "instruction"}}]
    got = _read(tmp_path, subset=["one", "three"], more=more)
    assert got.texts == ["of one", "of three", "elsewhere"]
    assert [origin.get("subset") for origin in got.origins()] == ["one", "three", None]
    write_dataset(tmp_path / "copies", "org/both", [{"question": "asked", "variant": "asked otherwise"}])
    block = {"reader": "hugging_face", "dataset": "org/both", "columns": {"question": "question"}}
    again = {"more": [{"dataset": "org/both", "columns": {"question": "variant"}}]}
    assert read(tmp_path, block | again, copies=tmp_path / "copies").texts == ["asked", "asked otherwise"]


def test_each_data_file_is_a_shard_and_a_row_says_where_it_is(tmp_path: Path) -> None:
    folder = write_dataset(tmp_path / "copies", "org/set", _questions("a", "b"), commit=COMMIT)
    pl.DataFrame(_questions("c")).write_parquet(folder / "data" / "train-00001-of-00002.parquet")
    (folder / "README.md").unlink()
    got = _read(tmp_path)
    assert got.texts == ["a", "b", "c"] and len(got.staged.shards) == 2
    assert got.origins()[1] == {"dataset": "org/set", "split": "train", "revision": COMMIT, "shard": 0, "row": 1}


def test_columns_that_nothing_names_are_not_read_when_metadata_says_which_are_kept(tmp_path: Path) -> None:
    write_dataset(tmp_path / "copies", "org/set", [{"question": "q", "level": 3, "trace": "x" * 1000}])
    got = _read(tmp_path, columns={"question": "question", "metadata": ["level"]})
    assert got.staged.counts.columns == ["level", "question"]
    with pytest.raises(SourceError, match="their columns are level, question, trace"):
        _read(tmp_path, columns={"question": "problem", "metadata": ["level"]})


def test_the_hubs_converted_branch_is_read_by_its_folders(tmp_path: Path) -> None:
    write_converted(tmp_path / "copies", "org/set", _questions("a"), "algebra__linear_1d")
    write_converted(tmp_path / "copies", "org/set", _questions("b"), "other")
    assert _read(tmp_path, subset="algebra__linear_1d", revision="refs/convert/parquet").texts == ["a"]


def test_a_copy_of_another_commit_than_the_recipe_pins_is_refused(tmp_path: Path) -> None:
    write_dataset(tmp_path / "copies", "org/set", _questions("a"), commit=COMMIT)
    assert _read(tmp_path, revision=COMMIT).origins()[0]["revision"] == COMMIT
    with pytest.raises(SourceError, match=rf"pins revision {OTHER}, and the copy at .* is of commit {COMMIT}.*hf down"):
        _read(tmp_path, revision=OTHER)
    write_dataset(tmp_path / "copies", "org/plain", _questions("a"))
    with pytest.raises(SourceError, match="does not say of which commit it is"):
        _read(tmp_path, "org/plain", revision=COMMIT)


def test_a_copy_of_two_commits_at_once_is_refused(tmp_path: Path) -> None:
    write_dataset(tmp_path / "copies", "org/set", _questions("a"), "one", commit=COMMIT)
    write_dataset(tmp_path / "copies", "org/set", _questions("b"), "two", commit=OTHER)
    with pytest.raises(SourceError, match="has files of 2 commits"):
        _read(tmp_path, subset="one")


def test_a_git_checkout_and_the_hubs_cache_say_their_commit(tmp_path: Path) -> None:
    folder = write_dataset(tmp_path / "copies", "org/set", _questions("a"))
    (folder / ".git").mkdir()
    (folder / ".git" / "HEAD").write_text(f"{COMMIT}\n")
    assert _read(tmp_path).origins()[0]["revision"] == COMMIT
    cached = write_dataset(tmp_path / "cache" / "snapshots", OTHER, _questions("a"))
    assert _read(tmp_path, str(cached)).origins()[0]["revision"] == OTHER


def test_a_revision_that_moved_moves_the_rows_and_is_said_in_each(tmp_path: Path) -> None:
    write_dataset(tmp_path / "copies", "org/set", _questions("a", "b"), commit=COMMIT)
    before = _read(tmp_path)
    write_dataset(tmp_path / "copies", "org/set", _questions("a", "c"), commit=OTHER)
    after = _read(tmp_path)
    assert after.texts == ["a", "c"]
    assert {o["revision"] for o in before.origins()} == {COMMIT} and {o["revision"] for o in after.origins()} == {OTHER}
    assert before.questions["question_id"][0] == after.questions["question_id"][0]  # the text is the same


def test_a_column_that_vanished_upstream_says_which_are_there(tmp_path: Path) -> None:
    write_dataset(tmp_path / "copies", "org/set", [{"problem": "a", "answer": "1"}], commit=COMMIT)
    columns = {"question": "problem", "answer": "answer"}
    _read(tmp_path, columns=columns)
    write_dataset(tmp_path / "copies", "org/set", [{"problem": "a", "solution": "1"}], commit=OTHER)
    with pytest.raises(SourceError, match=r"none of its 1 questions has an answer in 'answer'.*problem, solution"):
        _read(tmp_path, columns=columns)
    write_dataset(tmp_path / "copies", "org/set", [{"text": "a", "answer": "1"}], commit=OTHER)
    with pytest.raises(SourceError, match=r"none of its 1 rows has a question in 'problem'.*answer, text"):
        _read(tmp_path, columns=columns)


def test_without_copy_and_network_the_error_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"'no/such-set' cannot be loaded.*no copy at .*OPENTHOUGHTS_DATASETS"):
        _read(tmp_path, "no/such-set")


def test_a_dataset_that_is_damaged_says_in_which_shard(tmp_path: Path) -> None:
    folder = write_dataset(tmp_path / "copies", "org/set", [{"question": f"{n}" * 500, "id": n} for n in range(2000)])
    path = next(folder.rglob("*.parquet"))
    content = bytearray(path.read_bytes())
    content[200:400] = bytes(200)
    path.write_bytes(bytes(content))
    with pytest.raises(SourceError, match="dataset 'org/set', shard 0 of 1"):
        _read(tmp_path)


def test_a_chat_kept_as_json_text_is_looked_into(tmp_path: Path) -> None:
    chat = json.dumps([{"role": "user", "content": "hello?"}])
    write_dataset(tmp_path / "copies", "org/set", [{"messages": chat}])
    assert _read(tmp_path, columns={"question": "messages.0.content"}).texts == ["hello?"]
