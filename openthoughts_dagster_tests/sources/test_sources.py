"""Readers on real files: what is no question is quarantined with its reason, and the rest goes on."""

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from openthoughts_dagster.recipe import FilesSource, HuggingFaceSource, ProceduralSource, Recipe, load_recipe
from openthoughts_dagster.sources import SourceError, SourceRows, read_source


@pytest.fixture
def recipe(tmp_path: Path) -> Recipe:
    recipe = load_recipe("openthoughts3", {})
    recipe._folder = tmp_path
    return recipe


def _files(recipe: Recipe, path: str = "q.jsonl", **more: Any) -> SourceRows:
    return read_source(FilesSource(name="mine", domain="math", reader="files", path=path, **more), recipe)


def _lines(*rows: object) -> bytes:
    return b"".join(json.dumps(row).encode() + b"\n" for row in rows)


def test_bad_rows_are_quarantined_with_their_reason_and_the_rest_goes_on(recipe: Recipe, tmp_path: Path) -> None:
    good = _lines({"question": "1 + 1?", "answer": "2", "level": 3})
    bad = [
        b"{not json\n",
        b"\xff\xfe\n",
        b"[1]\n",
        *(_lines(r) for r in ({"q": 1}, {"question": " "}, {"question": 7})),
    ]
    (tmp_path / "q.jsonl").write_bytes(b"\xef\xbb\xbf" + good + b"".join(bad) + b"\n" + good)

    read = _files(recipe, columns={"question": "question", "answer": "answer"})

    assert read.rows_in == 8 == read.questions.height + read.rejected.height
    assert read.rejected["reason"].to_list() == ["not_json", "not_utf8", "not_an_object", *["no_question"] * 3]
    assert read.questions["question_id"].n_unique() == 2  # the same text twice: dedup will say so, not the reader
    first = read.questions.row(0, named=True)
    assert first["reference_answer"] == "2" and json.loads(first["metadata"]) == {"level": 3}
    assert json.loads(first["origin"])["line"] == 1
    assert "q.jsonl" in read.rejected["origin"][0]


def test_a_glob_reads_plain_and_compressed_files(recipe: Recipe, tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(_lines({"question": "a"}))
    (tmp_path / "b.jsonl.gz").write_bytes(gzip.compress(_lines({"question": "b"})))
    assert _files(recipe, "*.jsonl*").questions["question"].to_list() == ["a", "b"]


def test_a_template_makes_a_question_of_several_columns(recipe: Recipe, tmp_path: Path) -> None:
    (tmp_path / "q.jsonl").write_bytes(_lines({"title": "T", "body": "B"}, {"title": "T"}))
    read = _files(recipe, columns={"question": "{title}\n\n{body}"})
    assert read.questions["question"].to_list() == ["T\n\nB"] and read.rejected.height == 1


def test_a_limit_takes_a_seeded_sample(recipe: Recipe, tmp_path: Path) -> None:
    (tmp_path / "q.jsonl").write_bytes(_lines(*({"question": f"q{n}"} for n in range(100))))
    first, again = (_files(recipe, limit=10).questions["question"].to_list() for _ in range(2))
    assert first == again != [f"q{n}" for n in range(10)] and len(first) == 10


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (None, r"mine.*no file at .*q\.jsonl"),
        (b"", "mine: it has no rows"),
        (
            _lines({"prompt": "a", "id": 1}),
            "none of its 1 rows has a question in 'question'; their columns are id, prompt",
        ),
        (b"no json at all\n", "none of its 1 rows has a question"),
    ],
)
def test_a_file_without_questions_says_what_is_wrong(
    recipe: Recipe, tmp_path: Path, content: bytes | None, says: str
) -> None:
    if content is not None:
        (tmp_path / "q.jsonl").write_bytes(content)
    with pytest.raises(SourceError, match=says):
        _files(recipe)


def test_a_local_folder_reads_as_a_hugging_face_dataset_does(recipe: Recipe, tmp_path: Path) -> None:
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "train.jsonl").write_bytes(_lines(*({"input": f"q{n}", "level": n} for n in range(5))))

    def read(**more: Any) -> SourceRows:
        source = {"name": "hub", "domain": "code", "reader": "hugging_face", "dataset": "set"}
        return read_source(HuggingFaceSource.model_validate(source | more), recipe)

    rows = read(columns={"question": "input"}).questions
    assert rows["question"].to_list() == [f"q{n}" for n in range(5)]
    with pytest.raises(SourceError, match="has no split 'test'; its splits are train"):
        read(split="test")
    with pytest.raises(SourceError, match="their columns are input, level"):
        read()
    with pytest.raises(SourceError, match="cannot be loaded"):
        read(dataset="no/such-dataset")


def test_procedural_questions_are_the_same_for_the_same_seed(recipe: Recipe) -> None:
    def read(**more: Any) -> SourceRows:
        source = {"name": "sums", "domain": "math", "reader": "procedural", "family": "chain_sum", "size": 5}
        return read_source(ProceduralSource.model_validate(source | more), recipe)

    assert read().questions.equals(read().questions)
    assert read().questions["reference_answer"].null_count() == 0
    with pytest.raises(SourceError, match="has no family 'chain_sums'; did you mean chain_sum"):
        read(family="chain_sums")
    with pytest.raises(SourceError, match="options: chain_sum does not take them"):
        read(options={"no_such_option": 1})
