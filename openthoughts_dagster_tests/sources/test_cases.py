"""Files that users of similar tools reported as lost or changed without a word, each with what is right."""

import json
import shutil
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from openthoughts_dagster.lake import batches_hash
from openthoughts_dagster.sources import SourceError
from openthoughts_dagster_tests.sources.helpers import Read, read

CASES = Path(__file__).parent / "data" / "cases"


def _files(tmp_path: Path, name: str, **more: Any) -> Read:
    more = {"columns": {"question": "question", "answer": "answer"}} | more
    return read(tmp_path, {"reader": "files", "path": str(CASES / name), **more})


def _hub(tmp_path: Path, name: str, **more: Any) -> Read:
    shutil.copytree(CASES / name, tmp_path / "dataset", dirs_exist_ok=True)
    more = {"columns": {"question": "question", "answer": "answer"}} | more
    return read(tmp_path, {"reader": "hugging_face", "dataset": "dataset", **more})


def _answers(got: Read) -> list[str | None]:
    return got.questions["reference_answer"].to_list()


def test_a_quote_that_is_never_closed_costs_its_own_row(tmp_path: Path) -> None:
    got = _files(tmp_path, "stray_quote.csv")
    assert len(got.texts) == 299 and got.reasons == ["not_csv"]
    [evidence], [origin] = got.rejected["evidence"].to_list(), got.rejected["origin"].to_list()
    assert "written twice" in evidence and json.loads(origin)["line"] == 102


def test_a_byte_order_mark_is_no_part_of_a_quoted_header(tmp_path: Path) -> None:
    got = _files(tmp_path, "bom_quoted.csv")
    assert got.texts == ["What is 2+2?", "A farmer, who had 3 cows,\nbuys 4. How many?"] and _answers(got) == ["4", "7"]
    got = _files(tmp_path, "bom_comma.csv", columns={"question": "question, text", "answer": "answer"})
    assert got.texts == ["What is 2+2?"] and _answers(got) == ["4"]


def test_backslash_escapes_reject_their_row_with_its_text_and_the_remedy(tmp_path: Path) -> None:
    got = _files(tmp_path, "escaped.csv")
    assert got.texts == ["Next one, 4+4?", "last"]
    [evidence] = got.rejected["evidence"].to_list()
    assert r"He said \"hi\" 3 times" in evidence and "written twice" in evidence


def test_utf16_is_said_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"utf16\.csv cannot be read: UnicodeError: it is UTF-16.*iconv"):
        _files(tmp_path, "utf16.csv")


def test_a_tsv_field_may_begin_with_an_inch_mark(tmp_path: Path) -> None:
    got = _files(tmp_path, "inch.tsv")
    assert got.texts == ['A 5" pipe is how many cm?', '"5 feet" is how many inches', "5"]
    assert _answers(got) == ["12.7", "60", "5"] and got.reasons == []


def test_a_text_of_a_csv_equals_the_number_that_it_writes(tmp_path: Path) -> None:
    got = _files(tmp_path, "levels.csv", where=[{"column": "level", "equals": 3}], columns={"question": "question"})
    assert got.texts == ["a b"] and got.staged.counts.filtered == {"level equals 3": 1}


@pytest.mark.parametrize(
    ("name", "more", "texts"),
    [
        ("lines.json", {}, ["q1", "q2"]),
        ("data.json", {"records": "data"}, ["q1"]),
        ("big.json", {}, ["q1", "q2", "q3", "q4"]),
        ("nan.json", {}, ["q1", "q2"]),
        ("bom.json", {}, ["q1"]),
    ],
)
def test_json_is_read_as_json_lines_are(tmp_path: Path, name: str, more: dict[str, Any], texts: list[str]) -> None:
    got = _files(tmp_path, name, **more)
    assert got.texts == texts and got.reasons == []


def test_json_lines_under_the_name_json_are_read(tmp_path: Path) -> None:
    [column] = json.loads(__import__("gzip").decompress((CASES / "dolma.json.gz").read_bytes()).splitlines()[0])
    assert len(_files(tmp_path, "dolma.json.gz", columns={"question": column}).texts) == 2


@pytest.mark.parametrize(
    ("name", "says"),
    [("data.json", "set `records: data`"), ("columns.json", r"maps each column \(question, answer\)")],
)
def test_json_of_another_shape_is_named_with_a_remedy(tmp_path: Path, name: str, says: str) -> None:
    with pytest.raises(SourceError, match=says):
        _files(tmp_path, name)


def test_numbers_that_are_none_are_no_answers_and_too_large_ones_are_named(tmp_path: Path) -> None:
    got = _files(tmp_path, "nan.jsonl")
    assert _answers(got) == [None, "4.0"]
    metadata = [json.loads(text, parse_constant=pytest.fail) for text in got.questions["metadata"]]
    assert metadata == [{"level": None}, {"level": None}]
    got = _files(tmp_path, "big.json")
    assert _answers(got) == ["123456789012345678901234567890", "12.50", "0.30000000000000004", None]
    assert json.loads(got.questions["metadata"][3]) == {"answer_not_stored": "a number that is too large"}


def test_numbers_of_json_keep_the_text_that_they_were_written_with(tmp_path: Path) -> None:
    texts = ["12.50", "1e3", "-0.0", "42", "0.30000000000000004"]
    blocks = {"files": {"path": "dataset/train.jsonl"}, "hugging_face": {"dataset": "dataset"}}
    columns: dict[str, Any] = {"question": "{question} for {price}", "answer": "answer", "metadata": ["price"]}
    for reader, place in blocks.items():
        more = ["[1.50, 2.0]", '{"low": 1.50}'] if reader == "files" else []
        rows = [f'{{"question": "q{n}", "price": 7.10, "answer": {text}}}' for n, text in enumerate([*texts, *more])]
        (tmp_path / reader / "dataset").mkdir(parents=True)
        (tmp_path / reader / "dataset" / "train.jsonl").write_text("\n".join(rows))
        got = read(tmp_path / reader, {"reader": reader, **place, "columns": columns})
        assert _answers(got) == [*texts, *more] and got.texts[0] == "q0 for 7.10"
        assert json.loads(got.questions["metadata"][0]) == {"price": 7.1}
    where = [{"column": "price", "at_least": 7.1}, {"column": "answer", "equals": 12.5}]
    assert read(tmp_path / "files", {"reader": "files", "path": "dataset/*.jsonl", "where": where}).texts == ["q0"]
    chat = {"question": "q", "answer": '[{"role": "user"}, {"role": "a", "content": 3.00}]'}
    (tmp_path / "chat.jsonl").write_text(json.dumps(chat))
    columns = {"question": "question", "answer": "answer.1.content"}
    assert _answers(read(tmp_path, {"reader": "files", "path": "chat.jsonl", "columns": columns})) == ["3.00"]


def test_what_no_table_can_hold_is_named(tmp_path: Path) -> None:
    got = _files(tmp_path, "surrogate.jsonl")
    assert got.texts == ["fine 😀", "ok"] and got.reasons == ["not_utf8"]
    assert _answers(got) == [None, "2"]
    assert "half of a surrogate pair" in json.loads(got.questions["metadata"][0])["answer_not_stored"]


def test_a_question_that_is_empty_once_it_is_cleaned_is_rejected(tmp_path: Path) -> None:
    got = _files(tmp_path, "bomq.jsonl", columns={"question": "question"})
    assert got.texts == ["ok"] and got.reasons == ["no_question"]
    rows = [{"question": text} for text in ("\u200b", "\u00ad \u2060\u00a0", "\0", "½", " \u200bx")]
    (tmp_path / "invisible.jsonl").write_text("\n".join(map(json.dumps, rows)))
    got = read(tmp_path, {"reader": "files", "path": "invisible.jsonl"})
    assert got.texts == ["½", " \u200bx"] and got.reasons == ["no_question"] * 3


def test_a_name_with_two_values_rejects_its_row_and_a_huge_number_none(tmp_path: Path) -> None:
    rows = ['{"question": "a", "question": "b"}', '{"question": "c", "n": 1, "n": 1}']
    (tmp_path / "rows.jsonl").write_text("\n".join([*rows, f'{{"question": "d", "n": 1{"0" * 400}}}']))
    got = read(tmp_path, {"reader": "files", "path": "rows.jsonl", "where": [{"column": "n", "at_least": 1}]})
    assert got.texts == ["c", "d"] and got.reasons == ["not_json"]
    assert "the name 'question' has two values" in got.rejected["evidence"][0]
    table = pa.Table.from_arrays([pa.array(["a"]), pa.array(["b"])], names=["question", "question"])
    pq.write_table(table, tmp_path / "twice.parquet")
    with pytest.raises(SourceError, match="a column name occurs twice"):
        read(tmp_path, {"reader": "files", "path": "twice.parquet"})


def test_short_numbers_of_parquet_have_their_own_digits_as_answers(tmp_path: Path) -> None:
    (tmp_path / "set").mkdir()
    numbers = pa.array([0.1, None, 2.5], pa.float32())
    pq.write_table(pa.table({"question": ["a", "b", "c"], "answer": numbers}), tmp_path / "set" / "train.parquet")
    for block in ({"reader": "files", "path": "set/*.parquet"}, {"reader": "hugging_face", "dataset": "set"}):
        got = read(tmp_path, block | {"columns": {"question": "question", "answer": "answer"}})
        assert _answers(got) == ["0.1", None, "2.5"]


def test_columns_of_the_metadata_that_no_row_has_are_told(tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text('{"question": "a", "level": {"x": 1}}')
    told: list[str] = []
    columns = {"question": "question", "metadata": ["level.x", "levle"]}
    read(tmp_path, {"reader": "files", "path": "rows.jsonl", "columns": columns}, log=told.append)
    assert [line for line in told if "metadata" in line] == [
        "sources.mine.columns.metadata: no row has 'levle'; it is null everywhere"
    ]


def test_decimals_and_dates_have_no_quotation_marks(tmp_path: Path) -> None:
    assert _answers(_files(tmp_path, "types.parquet")) == ["1.50"]
    got = _files(tmp_path, "types.parquet", columns={"question": "question", "answer": "d"})
    assert _answers(got) == ["2024-01-02"]
    assert json.loads(got.questions["metadata"][0])["b"]["bytes"] == 2


def test_a_parquet_row_that_is_no_utf8_costs_no_other(tmp_path: Path) -> None:
    got = _files(tmp_path, "badutf8.parquet", columns={"question": "question"})
    assert got.texts and got.reasons == ["not_utf8"]
    assert "column " in got.rejected["evidence"][0]


def test_a_list_in_a_template_is_written_as_lines(tmp_path: Path) -> None:
    got = _files(tmp_path, "choices.parquet", columns={"question": "{question}\n{choices}"})
    assert got.texts == ["Pick one\na\nb", "Pick two\nα\nb\nc"]


def test_a_field_of_a_template_may_be_absent_where_the_recipe_says_so(tmp_path: Path) -> None:
    columns = {"question": "{instruction}\n\n{input?}", "answer": "output"}
    got = _files(tmp_path, "alpaca.jsonl", columns=columns)
    assert got.texts == ["Add 2 and 3.", "Add these.\n\n4, 5", "Name a prime.", "No input key."]
    got = _files(tmp_path, "alpaca.jsonl", columns={"question": "{instruction}\n\n{input}"})
    assert got.texts == ["Add these.\n\n4, 5", "Name a prime."]
    assert all("'input' is empty or absent" in evidence for evidence in got.rejected["evidence"])


def test_the_question_of_a_chat_is_the_users_first_turn(tmp_path: Path) -> None:
    columns = {"question": "conversations.first_user", "answer": "conversations.first_reply"}
    got = _files(tmp_path, "ot3.parquet", columns=columns)
    assert got.texts == ["What is 2+2?", "What is 3+3?"] and _answers(got) == ["<think>a</think>4", "6"]
    assert set(got.reasons) == {"no_question"}


def test_a_chat_in_messages_or_in_json_text_is_read_alike(tmp_path: Path) -> None:
    turns = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": [{"type": "text", "text": "1+1?"}]},
        {"role": "assistant", "content": "2"},
    ]
    rows = [{"messages": turns}, {"messages": json.dumps(turns)}]
    (tmp_path / "a.jsonl").write_text("\n".join(map(json.dumps, rows)))
    columns = {"question": "messages.first_user", "answer": "messages.first_reply"}
    got = read(tmp_path, {"reader": "files", "path": "a.jsonl", "columns": columns})
    assert got.texts == ["1+1?", "1+1?"] and _answers(got) == ["2", "2"]


def test_a_long_window_of_zstd_is_read_or_said(tmp_path: Path) -> None:
    try:
        assert _files(tmp_path, "long.jsonl.zst").texts
    except SourceError as error:
        assert "zstd -d --long=31" in str(error)


def test_rows_with_images_have_one_data_version(tmp_path: Path) -> None:
    versions = set()
    for attempt in ("one", "two"):
        got = _hub(tmp_path / attempt, "hub_image")
        versions.add(batches_hash(iter([got.questions])))
        [metadata] = got.questions["metadata"].to_list()
        assert "0x" not in metadata and json.loads(metadata)["image"]["bytes"]["bytes"] == 69
    assert len(versions) == 1


def test_answers_of_a_dataset_are_as_its_file_has_them(tmp_path: Path) -> None:
    assert _answers(_hub(tmp_path / "a", "hub_dates")) == ["2024-01-05", "2024-01-06"]
    assert _answers(_hub(tmp_path / "b", "hub_csv_numbers")) == ["0050", "0007"]
    (tmp_path / "c" / "dataset").mkdir(parents=True)
    (tmp_path / "c" / "dataset" / "train.csv").write_text("question,answer,level\nq1,NA,1\nq2,42,\n")
    block = {"reader": "hugging_face", "dataset": "dataset", "columns": {"answer": "answer"}}
    assert _answers(read(tmp_path / "c", block)) == ["NA", "42"]
    (tmp_path / "d" / "dataset").mkdir(parents=True)
    (tmp_path / "d" / "dataset" / "train.jsonl").write_text(
        '{"question": "q1", "answer": 42}\n{"question": "q2", "answer": 0.5}\n'
    )
    assert _answers(read(tmp_path / "d", block)) == ["42", "0.5"]


def test_files_with_other_columns_are_named_with_a_remedy_that_works(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"shard 1 of 2.*level: int64.*reader: files") as refused:
        _hub(tmp_path, "hub_more_columns")
    path = str(refused.value).split("`path: ")[1].split("`")[0]
    assert len(read(tmp_path, {"reader": "files", "path": path}).texts) >= 2


def test_configurations_are_named_and_one_can_be_chosen(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"\['algebra', 'geometry'\].*Check `subset`"):
        _hub(tmp_path, "hub_two_configs")
    assert _hub(tmp_path, "hub_two_configs", subset="algebra", columns={}).texts


def test_a_dataset_that_save_to_disk_wrote_is_read(tmp_path: Path) -> None:
    got = _hub(tmp_path, "hub_saved_to_disk")
    assert got.texts == ["q"] and _answers(got) == ["1"]
