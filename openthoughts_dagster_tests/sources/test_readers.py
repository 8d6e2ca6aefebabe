"""The table of readers, and what stages a shard again."""

from pathlib import Path

import pytest

from openthoughts_dagster.recipe import Price, identity_of
from openthoughts_dagster.sources import SourceError, readers
from openthoughts_dagster.sources.contract import Reader
from openthoughts_dagster_tests.sources.helpers import read, recipe_in, source_of


def test_each_reader_of_a_recipe_is_in_the_table_with_its_settings() -> None:
    assert list(readers.READERS) == readers.reader_names()
    for name, reader in readers.READERS.items():
        assert name in str(reader.settings.model_fields["reader"].annotation)


def test_a_reader_whose_package_is_absent_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = readers.READERS["files"]
    monkeypatch.setitem(readers.READERS, "files", Reader(files.settings, files.read, package="no_such_package"))
    (tmp_path / "a.jsonl").write_text('{"question": "a"}')
    with pytest.raises(SourceError, match=r"needs the package no_such_package.*openthoughts-dagster\[sources\]"):
        read(tmp_path, {"reader": "files", "path": "a.jsonl"})


def test_a_judges_price_and_a_note_stage_nothing_again(tmp_path: Path) -> None:
    judge = recipe_in(tmp_path).judges[0]
    price = Price(prompt_million=1.0, completion_million=2.0, currency="EUR")
    assert identity_of(judge) == identity_of(judge.model_copy(update={"price": price}))
    block = {"reader": "files", "path": "a.jsonl"}
    other = block | {"note": "another", "confined_to": "/landing/mine"}
    assert identity_of(source_of(block)) == identity_of(source_of(other))
    assert identity_of(source_of(block)) != identity_of(source_of(block | {"verbatim": True}))
