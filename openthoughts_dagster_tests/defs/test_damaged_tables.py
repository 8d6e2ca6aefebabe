"""A step that meets a damaged file ends in an error that names it; a retired partition says what the recipe lacks."""

from pathlib import Path

import dagster as dg
import polars as pl
import pytest

from openthoughts_dagster.defs.build import build_definitions
from openthoughts_dagster.defs.catalogue import entries_of
from openthoughts_dagster.defs.columns import column_schema
from openthoughts_dagster.defs.resources import LakeResource
from openthoughts_dagster.defs.settings import Settings
from openthoughts_dagster.defs.steps import resumable
from openthoughts_dagster.lake import EMBEDDINGS, Lake
from openthoughts_dagster.recipe import Recipe, load_recipe
from openthoughts_dagster_tests.cli.damage import Harm, cut_off, data_file, flip_bytes


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings("quickstart", tmp_path, str(tmp_path / "lake"))


@pytest.fixture
def recipe(settings: Settings) -> Recipe:
    return load_recipe("quickstart", settings.variables())


@pytest.mark.parametrize("harm", [cut_off, flip_bytes])
def test_a_step_that_reads_a_damaged_file_names_it_and_the_way_back(lake: Lake, harm: Harm) -> None:
    rows = {"encoder": "e", "text": [f"text {n} " * 5 for n in range(40)], "vector": [[0.5, 1.0]] * 40}
    lake.append(EMBEDDINGS, pl.DataFrame(rows, schema=EMBEDDINGS.schema))

    @dg.asset
    @resumable
    def vectors(lake: LakeResource) -> None:
        lake.open().scan(EMBEDDINGS).collect()

    def run() -> dg.ExecuteInProcessResult:
        return dg.materialize([vectors], resources={"lake": LakeResource(root=lake.root)}, raise_on_error=False)

    assert run().success
    file = data_file(lake, EMBEDDINGS)
    harm(file)
    [failed] = [event for event in run().all_events if event.is_step_failure]
    error = failed.step_failure_data.error
    assert error is not None and error.cause is not None
    assert error.cause.cls_name == "LakeError"
    assert str(file) in error.cause.message and "Restore the file from a backup" in error.cause.message


def test_every_column_that_the_ui_shows_has_a_type_and_a_description(recipe: Recipe) -> None:
    tables = {entry.table.name: entry.table for entry in entries_of(recipe) if entry.table is not None}
    assert len(tables) >= 8
    for table in tables.values():
        assert table.description
        for column in column_schema(table).columns:
            assert column.description and column.type, f"{table.name}.{column.name}"


@pytest.mark.parametrize("asset", ["raw_sources", "teacher_answers", "student_checkpoint", "benchmark_scores"])
def test_the_run_of_a_retired_partition_says_which_source_the_recipe_lacks(
    asset: str, settings: Settings, recipe: Recipe
) -> None:
    definitions = build_definitions(recipe, settings)
    partition = "retired" if asset == "raw_sources" else f"retired|{recipe.teachers[0].name}"
    with dg.DagsterInstance.ephemeral() as instance:
        instance.add_dynamic_partitions("source", ["retired"])
        result = definitions.resolve_implicit_global_asset_job_def().execute_in_process(
            partition_key=partition,
            asset_selection=[dg.AssetKey(asset)],
            instance=instance,
            raise_on_error=False,
        )
    [failed, *_] = [event for event in result.all_events if event.is_step_failure]
    error = failed.step_failure_data.error
    assert error is not None and error.cause is not None
    assert "has no source 'retired'" in error.cause.message and "taken out of the recipe" in error.cause.message
