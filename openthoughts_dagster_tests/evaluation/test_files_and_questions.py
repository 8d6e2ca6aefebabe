import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from openthoughts_dagster.evaluation import BenchmarkError, benchmark_questions
from openthoughts_dagster.evaluation.items import Item, read_items
from openthoughts_dagster.generation.engine import EngineError
from openthoughts_dagster.generation.model import locate
from openthoughts_dagster.recipe import Evaluation, FileBenchmark, LightevalBenchmark, ModelReference
from openthoughts_dagster_tests.evaluation.helpers import json_lines

CASES = Path(__file__).parents[1] / "questions" / "data"
ROWS = [{"question": "1+1?", "answer": 2}, {"question": "Capital of Peru?", "answer": "Lima"}]


def lighteval(name: str, questions: str | None) -> LightevalBenchmark:
    return LightevalBenchmark(kind="lighteval", name=name, task="aime24", questions=questions)


def test_numbers_are_kept_as_they_are_written(tmp_path: Path) -> None:
    path = tmp_path / "b.jsonl"
    path.write_text('{"question": "a", "answer": 42.0}\n\n{"question": "b", "answer": 1e3}\n')
    assert read_items(path) == [Item("a", "42.0"), Item("b", "1e3")]


def test_a_compressed_file_reads_the_same(tmp_path: Path) -> None:
    path = tmp_path / "b.jsonl.gz"
    path.write_bytes(gzip.compress("".join(json.dumps(row) + "\n" for row in ROWS).encode()))
    assert [item.answer for item in read_items(path)] == ["2", "Lima"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"b\.jsonl: the file is empty"),
        ("\n \n", r"b\.jsonl: the file is empty"),
        ('{"question": "a", "answer": "b"}\nnot json\n', r"b\.jsonl, line 2: not JSON"),
        ("[1, 2]\n", r"line 1: a row is a JSON object"),
        ('{"question": "a"}\n', r"line 1: has no 'answer'; its fields are \['question'\]"),
        ('{"question": "  ", "answer": "b"}\n', r"line 1: 'question' must be a text or a number, got '  '"),
        ('{"question": "a", "answer": null}\n', r"line 1: 'answer' must be a text or a number, got None"),
        ('{"question": "a", "answer": ["b"]}\n', r"'answer' must be a text or a number"),
        (b"\xff\xfe\x00", r"b\.jsonl: not a JSON Lines file"),
    ],
)
def test_a_file_that_cannot_be_scored_says_where(text: str | bytes, message: str, tmp_path: Path) -> None:
    path = tmp_path / "b.jsonl"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    with pytest.raises(BenchmarkError, match=message):
        read_items(path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(BenchmarkError, match=r"gone\.jsonl: there is no such file"):
        read_items(tmp_path / "gone.jsonl")


def test_questions_come_from_files_and_data_sets_and_the_rest_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", str(tmp_path / "cache"))
    json_lines(tmp_path / "own.jsonl", ROWS)
    json_lines(tmp_path / "data" / "test.jsonl", [{"problem": "2+2?"}, {"problem": "3+3?"}])
    evaluation = Evaluation(
        benchmarks=[
            FileBenchmark(kind="file", name="own", path="own.jsonl", items=1),
            lighteval("listed", "own.jsonl"),
            lighteval("set", "./data:test:problem"),
            lighteval("silent", None),
        ]
    )
    frame, unchecked = benchmark_questions(evaluation, lambda path: str(tmp_path / path))
    assert frame.rows() == [
        ("own", "1+1?"),
        ("own", "Capital of Peru?"),
        ("listed", "1+1?"),
        ("listed", "Capital of Peru?"),
        ("set", "2+2?"),
        ("set", "3+3?"),
    ]
    assert unchecked == ["silent"]


def test_a_data_set_is_opened_once_until_its_content_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", str(tmp_path / "cache"))
    import datasets

    evaluation, load = Evaluation(benchmarks=[lighteval("set", "./data:test:problem")]), datasets.load_dataset
    opened: list[object] = []

    def counted(*names: Any, **settings: Any) -> Any:
        opened.append(names)
        return load(*names, **settings)

    monkeypatch.setattr("datasets.load_dataset", counted)
    for rows, times in ((["2+2?"], 1), (["2+2?", "3+3?"], 2)):
        json_lines(tmp_path / "data" / "test.jsonl", [{"problem": row} for row in rows])
        for _ in range(2):
            frame, _ = benchmark_questions(evaluation, lambda path: str(tmp_path / path))
            assert frame["question"].to_list() == rows
        assert len(opened) == times


def test_questions_that_cannot_be_read_are_all_listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", str(tmp_path / "cache"))
    json_lines(tmp_path / "data" / "test.jsonl", [{"problem": "2+2?"}])
    evaluation = Evaluation(
        benchmarks=[
            lighteval("a", "no-such/data-set:test:problem"),
            lighteval("b", "./data:test:question"),
            lighteval("c", "only-a-name"),
        ]
    )
    with pytest.raises(BenchmarkError) as caught:
        benchmark_questions(evaluation, lambda path: str(tmp_path / path))
    first, second, third = str(caught.value).splitlines()
    assert (
        "evaluation.benchmarks.a: questions: no-such/data-set:test:problem: the data set 'no-such/data-set' " in first
    )
    assert "there is no column 'question'; there are problem" in second
    assert "must be dataset:split:column" in third


def test_nothing_to_check_is_an_empty_table() -> None:
    frame, unchecked = benchmark_questions(Evaluation(benchmarks=[lighteval("silent", None)]), str)
    assert frame.rows() == []
    assert frame.columns == ["benchmark", "question"]
    assert unchecked == ["silent"]


def test_a_benchmarks_questions_are_read_like_any_json_lines(tmp_path: Path) -> None:
    """The cases bench_ok, rel_bom, rel_mixed and hub_benchmark_messages: texts that split or stop other readers."""
    at = lambda name: str(CASES / name)  # noqa: E731
    assert read_items(CASES / "bench_ok.jsonl") == [Item("a\u2028b\x85c\ufffd", "5.0")]
    addresses = {
        "bench_ok.jsonl": ["a\u2028b\x85c\ufffd"],
        "rel_bom.jsonl": ["a"],
        "rel_mixed.jsonl": [f"q{n}" for n in range(202)],
        "rel_mixed.jsonl:level": ["hard", "3"],
        "hub_benchmark_messages:test:problem": ["p"],
    }
    for address, questions in addresses.items():
        frame, _ = benchmark_questions(Evaluation(benchmarks=[lighteval("b", address)]), at)
        assert frame["question"].to_list() == questions, address
    for column in ("messages.content", "messages.0.content", "messages.first_user"):
        address = f"hub_benchmark_messages:test:{column}"
        frame, _ = benchmark_questions(Evaluation(benchmarks=[lighteval("b", address)]), at)
        assert frame["question"].to_list()[1] == "x y" and frame["question"][0].startswith("Let $\\frac{a}{b}$ be")
    whole = lighteval("b", "hub_benchmark_messages:test:messages")
    with pytest.raises(
        BenchmarkError, match=r"the column 'messages' holds .*'content'.* such as messages\..*first_user"
    ):
        benchmark_questions(Evaluation(benchmarks=[whole]), at)


def test_a_folder_of_the_present_directory_is_not_read_in_place_of_the_hubs_data_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    json_lines(tmp_path / "here" / "openai" / "gsm8k" / "test.jsonl", [{"question": "not the hub's"}])
    monkeypatch.chdir(tmp_path / "here")
    with pytest.raises(BenchmarkError, match="the data set 'openai/gsm8k' cannot be loaded"):
        asked = Evaluation(benchmarks=[lighteval("b", "openai/gsm8k:test:question")])
        benchmark_questions(asked, lambda path: str(tmp_path / path))
    (tmp_path / "here" / "org" / "model").mkdir(parents=True)
    with pytest.raises(EngineError, match=r"org/model in the present directory, .* write \./org/model"):
        locate(ModelReference(name="m", model="org/model", engine="transformers"), tmp_path)
