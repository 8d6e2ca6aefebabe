"""What a dataset or a landed source may read: its own files, in bounded time and memory."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from openthoughts_dagster.sources import SourceError
from openthoughts_dagster_tests.sources.helpers import read, source_of


@pytest.mark.parametrize("named", ["/etc/passwd", "../secret.jsonl", "http://169.254.169.254/x.jsonl", "file:///etc/x"])
def test_a_readme_that_names_files_elsewhere_is_refused(tmp_path: Path, named: str) -> None:
    folder = tmp_path / "dataset"
    folder.mkdir()
    (tmp_path / "secret.jsonl").write_text('{"question": "secret"}\n')
    configs = f"configs:\n- config_name: default\n  data_files: {json.dumps(named)}\n"
    (folder / "README.md").write_text(f"---\n{configs}---\n")
    with pytest.raises(SourceError, match=r"README\.md names data_files outside"):
        read(tmp_path, {"reader": "hugging_face", "dataset": "dataset"})


def test_a_link_out_of_a_dataset_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "dataset").mkdir()
    (tmp_path / "secret.jsonl").write_text('{"question": "secret"}\n')
    (tmp_path / "dataset" / "train.jsonl").symlink_to(tmp_path / "secret.jsonl")
    with pytest.raises(SourceError, match="not in the dataset's own folder"):
        read(tmp_path, {"reader": "hugging_face", "dataset": "dataset"})


def test_a_landed_source_reads_no_dataset_of_the_recipes_folder(tmp_path: Path) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "b" / "train.jsonl").write_text('{"question": "of the recipe"}\n')
    block = {"reader": "hugging_face", "dataset": "a/b"}
    assert read(tmp_path, block).texts == ["of the recipe"]
    with pytest.raises(SourceError, match="cannot be loaded"):
        read(tmp_path, source_of(block | {"confined_to": "/landing/mine"}))


def test_a_landed_source_reads_no_link(tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "a.jsonl").write_text('{"question": "own"}\n')
    block = {"reader": "files", "path": f"{folder}/**/*.jsonl", "confined_to": str(folder)}
    assert read(tmp_path, block).texts == ["own"]
    (tmp_path / "secret.jsonl").write_text('{"question": "secret"}\n')
    (folder / "b.jsonl").symlink_to(tmp_path / "secret.jsonl")
    with pytest.raises(SourceError, match="symbolic link"):
        read(tmp_path, block)


@pytest.mark.parametrize(("subset", "split"), [("../..", "train"), ("/etc", "train"), (None, "http://x")])
def test_a_recipe_names_parts_of_a_dataset_and_no_paths(subset: str | None, split: str) -> None:
    with pytest.raises(ValueError, match="must be a name inside of the dataset"):
        source_of({"reader": "hugging_face", "dataset": "a/b", "subset": subset, "split": split})


def test_deep_json_takes_little_memory(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('[{"question": "ok"}, {"question": ' + "[" * 500_000 + "]" * 500_000 + "}]")
    code = f"""
import resource; resource.setrlimit(resource.RLIMIT_AS, (6 * 2**30, 6 * 2**30))
from pathlib import Path
from openthoughts_dagster_tests.sources.helpers import read
got = read(Path({str(tmp_path)!r}), {{"reader": "files", "path": "a.json"}})
assert got.texts == ["ok"] and got.reasons == ["too_deep"], got
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


def test_an_expression_that_backtracks_without_end_rejects_its_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from openthoughts_dagster.sources import patterns

    monkeypatch.setattr(patterns, "LONGEST_SEARCH", 0.05)
    rows = [{"question": "a" * 40 + "!"}, {"question": "aaa"}]
    (tmp_path / "a.jsonl").write_text("\n".join(map(json.dumps, rows)))
    block = {"reader": "files", "path": "a.jsonl", "where": [{"column": "question", "matches": "^(a|aa|a?)+$"}]}
    got = read(tmp_path, block)
    assert got.texts == ["aaa"] and got.reasons == ["pattern_too_slow"]


@pytest.mark.parametrize(
    "family", ["isomorphic_strings", "polynomial_multiplication", "ransom_note", "word_ladder", "composite"]
)
def test_a_family_asks_the_same_in_every_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, family: str) -> None:
    mixed = {"datasets": [{"name": "chain_sum"}, {"name": "word_ladder", "weight": 2}]}
    block = {"reader": "procedural", "family": family, "size": 8, "options": mixed if family == "composite" else {}}
    seen = []
    for seed in ("1", "2"):
        monkeypatch.setenv("PYTHONHASHSEED", seed)
        got = read(tmp_path / seed, block)
        seen.append(got.questions.select("question", "reference_answer", "metadata").rows())
    assert seen[0] == seen[1]


def test_a_family_that_differs_between_runs_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="knight_swap of reasoning_gym gives other questions"):
        read(tmp_path, {"reader": "procedural", "family": "knight_swap", "size": 8})
