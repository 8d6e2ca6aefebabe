"""raw_sources through Dagster: what a person sees, and checks that find damaged tables."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import dagster as dg
import polars as pl
import pytest
import yaml

from openthoughts_dagster.defs import check_rules as rules
from openthoughts_dagster.defs.build import build_definitions
from openthoughts_dagster.defs.partitions import sources
from openthoughts_dagster.defs.settings import Settings
from openthoughts_dagster.lake import RAW_SOURCES, REJECTED_QUESTIONS, SOURCE_READINGS, Lake
from openthoughts_dagster.landing.readings import sources_read_otherwise, write_rows
from openthoughts_dagster.recipe import load_recipe
from openthoughts_dagster.sources import StagedSource
from openthoughts_dagster_tests.e2e.small_recipe import small_recipe
from openthoughts_dagster_tests.sources.helpers import source_of
from openthoughts_dagster_tests.sources.hub import COMMIT, write_dataset

ROWS = [{"question": f"q{n}", "answer": "a", "level": n % 2} for n in range(20)] + [{"question": None, "level": 1}]
BLOCK = {
    "name": "hub",
    "domain": "math",
    "reader": "hugging_face",
    "dataset": "org/set",
    "columns": {"question": "question", "answer": "answer"},
    "where": [{"column": "level", "equals": 1}],
}


def _materialize(folder: Path) -> tuple[dg.AssetMaterialization, str]:
    """Materialize the source; its event and data version."""
    path = small_recipe(folder / "recipe", sources=[BLOCK])
    recipe = yaml.safe_load(path.read_text())
    recipe |= {"domains": {}, "release": None}
    path.write_text(yaml.safe_dump(recipe, sort_keys=False))
    settings = Settings(str(path), folder, str(folder / "lake"), str(folder / "copies"))
    defs = build_definitions(load_recipe(str(path), settings.variables()), settings)
    with dg.DagsterInstance.ephemeral() as instance:
        instance.add_dynamic_partitions(str(sources.name), ["hub"])
        job = defs.resolve_implicit_global_asset_job_def()
        result = job.execute_in_process(
            instance=instance, partition_key="hub", asset_selection=[dg.AssetKey("raw_sources")]
        )
        [event] = result.get_asset_materialization_events()
        assert all(evaluation.passed for evaluation in result.get_asset_check_evaluations())
        tags = event.materialization.tags or {}
        return event.materialization, tags["dagster/data_version"]


def test_counts_filters_reasons_and_a_sample_are_shown_and_a_rerun_moves_nothing(tmp_path: Path) -> None:
    write_dataset(tmp_path / "copies", "org/set", ROWS, commit=COMMIT)
    materialization, version = _materialize(tmp_path)
    shown = {name: value.value for name, value in materialization.metadata.items()}
    assert (shown["rows_read"], shown["rows_in"], shown["dagster/row_count"], shown["rows_rejected"]) == (21, 11, 10, 1)
    assert "no_question" in str(shown["rejected_by_reason"]) and "level equals 1" in str(shown["filtered_by"])
    assert "q1" in str(shown["sample"]) and "data:image/png" in str(shown["question_characters"])
    assert _materialize(tmp_path)[1] == version
    write_dataset(tmp_path / "copies", "org/set", [*ROWS, ROWS[1] | {"question": "new"}], commit=COMMIT[::-1])
    assert _materialize(tmp_path)[1] != version


def test_checks_find_lost_repeated_and_blank_rows(tmp_path: Path) -> None:
    write_dataset(tmp_path / "copies", "org/set", ROWS, commit=COMMIT)
    _materialize(tmp_path)
    lake, recipe = Lake(tmp_path / "lake"), load_recipe(str(tmp_path / "recipe"), {"OPENTHOUGHTS_DATA": "/d"})
    at = rules.Partition(recipe, lake, {"source": "hub"}, {"rows_in": 11})
    rows = lake.scan(RAW_SOURCES, source="hub").collect()
    every = (rules.raw_rows_add_up, rules.raw_questions_are_whole, rules.raw_few_rejected)
    assert [rule(at).passed for rule in every] == [True, True, True]
    for damaged, fails in (
        (rows.head(9), rules.raw_rows_add_up),
        (pl.concat([rows.head(9), rows.head(1)]), rules.raw_questions_are_whole),
        (rows.with_columns(question=pl.lit(" ")), rules.raw_questions_are_whole),
        (rows.with_columns(origin=pl.lit("{}")), rules.raw_questions_are_whole),
        (rows.head(0), rules.raw_questions_are_whole),
    ):
        lake.replace(RAW_SOURCES, damaged, source="hub")
        assert not fails(at).passed
    rejected = lake.scan(REJECTED_QUESTIONS, source="hub").collect()
    lake.replace(REJECTED_QUESTIONS, pl.concat([rejected] * 5), source="hub", stage="raw_sources")
    lake.replace(RAW_SOURCES, rows, source="hub")
    assert not rules.raw_few_rejected(at).passed
    assert json.loads(rejected["origin"][0])["row"] == 20


def test_a_source_that_fails_leaves_its_partition_as_it_was(tmp_path: Path) -> None:
    write_dataset(tmp_path / "copies", "org/set", ROWS, commit=COMMIT)
    _materialize(tmp_path)
    before = Lake(tmp_path / "lake").scan(RAW_SOURCES).collect()
    write_dataset(tmp_path / "copies", "org/set", [{"prompt": "q", "level": 1}], commit=COMMIT[::-1])
    with pytest.raises(ValueError, match="none of its 1 rows has a question in 'question'"):
        _materialize(tmp_path)
    assert Lake(tmp_path / "lake").scan(RAW_SOURCES).collect().equals(before)


def test_the_lake_says_what_rows_were_read_with_and_nothing_while_they_are_replaced(tmp_path: Path) -> None:
    write_dataset(tmp_path / "copies", "org/set", ROWS, commit=COMMIT)
    _materialize(tmp_path)
    lake, source = Lake(tmp_path / "lake"), source_of(BLOCK)
    [reading] = lake.scan(SOURCE_READINGS).collect().to_dicts()
    assert reading["rows"] == 10 and json.loads(reading["definition"])["where"][0]["equals"] == 1
    assert sources_read_otherwise(lake, [source]) == []
    limited = source.model_copy(update={"limit": 5})
    assert sources_read_otherwise(lake, [limited]) == ["hub"]

    class Cut:
        """A reading that ends before its rows are in the table."""

        rejected = staticmethod(lambda: iter([REJECTED_QUESTIONS.schema.to_frame()]))

        def questions(self) -> Iterator[pl.DataFrame]:
            raise OSError("cut off")

    with pytest.raises(Exception, match="cut off"):
        write_rows(lake, limited, cast(StagedSource, Cut()))
    assert lake.scan(SOURCE_READINGS).collect().is_empty()
