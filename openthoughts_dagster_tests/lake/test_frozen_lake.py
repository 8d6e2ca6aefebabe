"""A lake that an earlier version wrote opens, is read and is written by this one."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from openthoughts_dagster.lake import (
    COMPLETIONS,
    SOURCE_RANKING,
    STUDENT_CHECKPOINTS,
    TABLES,
    TEACHER_RANKING,
    Lake,
    Table,
)
from openthoughts_dagster_tests.lake.frozen import unpack_frozen_lake


@dataclass
class Frozen:
    """The deployment of November 2026, unpacked."""

    data: Path
    contents: dict[str, Any]

    @property
    def lake(self) -> Lake:
        return Lake(self.data / "lake")

    @property
    def tables(self) -> list[Table]:
        return [TABLES[name] for name in self.contents["rows"]]


@pytest.fixture
def frozen(tmp_path: Path) -> Frozen:
    return Frozen(tmp_path, unpack_frozen_lake(tmp_path))


def test_every_table_of_the_frozen_lake_is_read_with_all_columns(frozen: Frozen) -> None:
    for table in frozen.tables:
        rows = frozen.lake.scan(table).collect()
        assert (rows.height, rows.schema) == (frozen.contents["rows"][table.name], table.schema)


def test_rankings_from_before_there_were_domains_are_of_all(frozen: Frozen) -> None:
    for table in (SOURCE_RANKING, TEACHER_RANKING):
        assert frozen.lake.scan(table).collect()["domain"].to_list() == ["all", "all"]
        assert frozen.lake.scan(table).filter(pl.col("domain") == "math").collect().is_empty()


def test_every_table_of_the_frozen_lake_is_written(frozen: Frozen) -> None:
    for table in frozen.tables:
        before = frozen.lake.scan(table).collect()
        frozen.lake.append(table, before.head(1))
        assert frozen.lake.scan(table).collect().height == before.height + 1, table.name
        partition = {column: before[column][0] for column in table.partition_by}
        rows = frozen.lake.scan(table, **partition).collect()
        frozen.lake.replace(table, rows.head(1), **partition)
        assert frozen.lake.scan(table, **partition).collect().equals(rows.head(1)), table.name
        frozen.lake.replace_batches(table, partial(iter, [rows, rows]), **partition)
        assert frozen.lake.scan(table, **partition).collect().height == 2 * rows.height, table.name
        assert frozen.lake.scan(table).collect().schema == table.schema


def test_the_published_answers_of_the_frozen_lake_have_their_texts(frozen: Frozen) -> None:
    answers = frozen.lake.answers().collect()
    assert answers.height == frozen.contents["rows"]["teacher_answers"]
    assert answers["answer"].null_count() == 0 and answers["prompt"].str.len_chars().min() > 0  # type: ignore[operator]
    assert frozen.lake.answers(source="reversed-words", teacher="short").collect().height == 2


def test_the_frozen_lake_is_what_its_contents_say(frozen: Frozen) -> None:
    keys = {(row["key"], row["sample_index"], row["content"]) for row in frozen.contents["completions"]}
    rows = frozen.lake.scan(COMPLETIONS).select("key", "sample_index", "content").collect()
    assert set(rows.rows()) == keys and len(keys) == rows.height
    students = frozen.lake.scan(STUDENT_CHECKPOINTS).select("source", "teacher", "fingerprint").collect()
    assert set(students.rows()) == {(s["source"], s["teacher"], s["fingerprint"]) for s in frozen.contents["students"]}
    for student in frozen.contents["students"]:
        assert (frozen.data / student["folder"] / "model.safetensors").is_file()
