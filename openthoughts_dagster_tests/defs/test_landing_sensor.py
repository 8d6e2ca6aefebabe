"""The landing sensor: partitions, run requests, reports and a cursor that may be lost."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import polars as pl
import pytest

from openthoughts_dagster.defs.build import build_definitions
from openthoughts_dagster.defs.settings import Settings
from openthoughts_dagster.lake import RAW_SOURCES, SOURCE_READINGS, Lake
from openthoughts_dagster.landing.versions import SETTINGS_TAG, settings_of
from openthoughts_dagster.recipe import Recipe, load_recipe

RECIPE = ["two-digit-sums", "shop-sums", "reversed-words", "letter-counts"]


class Deployment:
    """The quickstart with a landing zone, and its sensor evaluated as the daemon does."""

    def __init__(self, folder: Path, instance: dg.DagsterInstance) -> None:
        self.landing, self.instance, self.cursor = folder / "landing", instance, ""
        self.landing.mkdir()
        self.settings = Settings("quickstart", folder, str(folder / "lake"), landing=str(self.landing))
        self.recipe = load_recipe("quickstart", self.settings.variables())
        self.load(self.recipe)

    def load(self, recipe: Recipe) -> None:
        """Reload the definitions with a recipe."""
        self.definitions = build_definitions(recipe, self.settings)

    def land(self, name: str, manifest: str = "{reader: files, domain: math, path: x.jsonl}") -> None:
        folder = self.landing / name
        folder.mkdir()
        (folder / "x.jsonl").write_text('{"question": "1+1?"}\n')
        (folder / "source.yaml").write_text(manifest)
        (folder / "_SUCCESS").touch()

    def tick(self) -> dg.SensorResult:
        """One evaluation; what it asks for is done."""
        sensor = self.definitions.get_sensor_def("source_landing_sensor")
        context = dg.build_sensor_context(self.instance, self.cursor, definitions=self.definitions)
        result = sensor(context)
        assert isinstance(result, dg.SensorResult)
        self.cursor = result.cursor or ""
        for request in result.dynamic_partitions_requests or ():
            self.instance.add_dynamic_partitions("source", list(request.partition_keys))
        return result

    def requested(self) -> list[str]:
        return sorted(str(request.partition_key) for request in self.tick().run_requests or ())

    def partitions(self) -> set[str]:
        return set(self.instance.get_dynamic_partitions("source"))


@pytest.fixture
def deployment(tmp_path: Path) -> Iterator[Deployment]:
    with dg.DagsterInstance.ephemeral() as instance:
        yield Deployment(tmp_path, instance)


def test_the_recipes_sources_become_partitions_and_are_read_once(deployment: Deployment) -> None:
    assert deployment.requested() == sorted({*RECIPE} - {"shop-sums"})
    assert deployment.partitions() == {*RECIPE}
    assert deployment.requested() == ["shop-sums"]  # a file: nothing of it changed since the first tick
    assert deployment.requested() == []


def test_a_source_that_vanished_before_it_was_requested_stops_nothing_and_is_read_when_it_is_back(
    deployment: Deployment, tmp_path: Path
) -> None:
    deployment.tick(), deployment.tick()
    deployment.land("mine")
    before = deployment.cursor
    deployment.tick()  # the daemon dies before it stores the cursor and the partition
    deployment.cursor = before
    deployment.instance.delete_dynamic_partition("source", "mine")
    shutil.move(deployment.landing / "mine", tmp_path / "away")
    deployment.land("other")
    assert deployment.requested() == ["other"] and "mine" not in deployment.partitions()

    shutil.move(tmp_path / "away", deployment.landing / "mine")
    assert deployment.requested() == ["mine"] and "mine" in deployment.partitions()


def test_a_landed_source_becomes_a_partition_and_is_read(deployment: Deployment) -> None:
    deployment.tick(), deployment.tick()
    deployment.land("mine")
    [request] = deployment.tick().run_requests or ()
    assert request.partition_key == "mine" and "mine" in deployment.partitions()
    assert request.run_key is not None and request.run_key.startswith("mine@")
    assert deployment.requested() == []


def test_a_landed_source_is_known_to_every_process_that_loads_the_definitions(deployment: Deployment) -> None:
    deployment.land("mine")
    deployment.tick()
    job = deployment.definitions.resolve_job_def("refresh_questions")
    read = job.execute_in_process(
        instance=deployment.instance,
        partition_key="mine",
        asset_selection=[dg.AssetKey("raw_sources")],
        raise_on_error=False,
    )
    [made] = [event.materialization for event in read.get_asset_materialization_events()]
    assert made.partition == "mine" and made.metadata["dagster/row_count"].value == 1


@pytest.mark.parametrize("cursor", ["", "no JSON", "[]", '{"seen": {}}', '{"delivered": "3", "waiting": []}'])
def test_a_lost_cursor_asks_again_under_the_same_run_keys(deployment: Deployment, cursor: str) -> None:
    deployment.land("mine")
    keys = {request.run_key for _ in range(2) for request in deployment.tick().run_requests or ()}
    deployment.cursor = cursor
    assert {request.run_key for request in deployment.tick().run_requests or ()} == keys
    assert deployment.requested() == []


def test_a_lost_lake_reads_every_source_again(deployment: Deployment, tmp_path: Path) -> None:
    deployment.land("mine")
    keys = {request.run_key for _ in range(2) for request in deployment.tick().run_requests or ()}
    shutil.rmtree(tmp_path / "lake")
    again = {request.run_key for _ in range(2) for request in deployment.tick().run_requests or ()}
    assert len(again) == len(keys) and not again & keys


def test_a_bad_manifest_is_on_the_tick_and_on_a_check_until_it_is_mended(deployment: Deployment) -> None:
    deployment.land("bad", "{reader: files, domain: math, path: /etc/passwd}")
    result = deployment.tick()
    [event] = result.asset_events
    assert isinstance(event, dg.AssetCheckEvaluation) and not event.passed and "bad: path:" in (event.description or "")
    deployment.tick()
    result = deployment.tick()
    assert result.asset_events == [] and "bad: path:" in str(result.skip_reason)
    assert "bad" not in deployment.partitions()
    (deployment.landing / "bad" / "source.yaml").write_text("{reader: files, domain: math, path: x.jsonl}")
    result = deployment.tick()
    [event] = result.asset_events
    assert isinstance(event, dg.AssetCheckEvaluation) and event.passed
    assert "bad" in deployment.partitions()


def test_a_retired_source_whose_partition_was_deleted_stays_away(deployment: Deployment) -> None:
    deployment.land("mine")
    deployment.tick()
    shutil.rmtree(deployment.landing / "mine")
    deployment.tick()
    assert "mine" in deployment.partitions()
    deployment.instance.delete_dynamic_partition("source", "mine")
    assert "mine" not in deployment.requested() and "mine" not in deployment.partitions()


def test_a_landing_place_that_is_away_stops_neither_the_recipes_sources_nor_the_sensor(deployment: Deployment) -> None:
    deployment.landing.rmdir()
    result = deployment.tick()
    assert len(result.run_requests or ()) == 3
    deployment.tick()
    assert "cannot be read" in str(deployment.tick().skip_reason)


def test_the_cursor_stays_small_when_many_sources_land(deployment: Deployment) -> None:
    for number in range(1000):
        (deployment.landing / f"source-{number:04}").mkdir()
        (deployment.landing / f"source-{number:04}" / "x.jsonl").touch()
    deployment.tick()
    assert len(deployment.cursor) < 40_000
    assert all(isinstance(name, str) for name in json.loads(deployment.cursor)["waiting"])


def test_a_source_that_only_the_instance_knows_is_read_into_a_new_lake(deployment: Deployment) -> None:
    event = dg.AssetMaterialization("raw_sources", partition="two-digit-sums")
    deployment.instance.report_runless_asset_event(event)
    assert "two-digit-sums" in deployment.requested()


def test_settings_that_changed_before_the_first_look_are_news(deployment: Deployment) -> None:
    lake = Lake(str(deployment.landing.parent / "lake"))
    for name, settings in (("two-digit-sums", "others"), ("reversed-words", None)):
        row = dict.fromkeys(RAW_SOURCES.columns, "x") | {"source": name}
        lake.replace(RAW_SOURCES, pl.DataFrame([row], schema=RAW_SOURCES.schema), source=name)
        tags = {SETTINGS_TAG: settings} if settings else {}
        event = dg.AssetMaterialization("raw_sources", partition=name, tags=tags)
        deployment.instance.report_runless_asset_event(event)
    requested = deployment.requested()
    assert "two-digit-sums" in requested and "reversed-words" not in requested


def test_the_lake_says_with_which_settings_its_rows_were_read(deployment: Deployment) -> None:
    """Also to an instance whose materializations say nothing of settings, or say others."""
    lake, recipe = Lake(str(deployment.landing.parent / "lake")), load_recipe("quickstart", {"OPENTHOUGHTS_DATA": "d"})
    current = settings_of(recipe.source("two-digit-sums"))
    for name, settings in (("two-digit-sums", current), ("reversed-words", "others")):
        row = dict.fromkeys(RAW_SOURCES.columns, "x") | {"source": name}
        lake.replace(RAW_SOURCES, pl.DataFrame([row], schema=RAW_SOURCES.schema), source=name)
        reading = {"source": name, "settings": settings, "definition": "{}", "rows": 1}
        lake.replace(SOURCE_READINGS, pl.DataFrame([reading], schema=SOURCE_READINGS.schema), source=name)
        tag = {SETTINGS_TAG: "older"} if name == "two-digit-sums" else {}
        event = dg.AssetMaterialization("raw_sources", partition=name, tags=tag)
        deployment.instance.report_runless_asset_event(event)
    requested = deployment.requested()
    assert "two-digit-sums" not in requested and "reversed-words" in requested


@pytest.mark.parametrize("changed", [False, True])
def test_a_source_that_comes_back_is_read_again_only_with_other_settings(deployment: Deployment, changed: bool) -> None:
    recipe, lake = deployment.recipe, Lake(deployment.settings.lake)
    source = recipe.source("reversed-words")
    others = [each for each in recipe.sources if each is not source]
    deployment.tick(), deployment.tick()
    row = dict.fromkeys(RAW_SOURCES.columns, "x") | {"source": source.name}
    lake.replace(RAW_SOURCES, pl.DataFrame([row], schema=RAW_SOURCES.schema), source=source.name)
    reading = {"source": source.name, "settings": settings_of(source), "definition": "{}", "rows": 1}
    lake.replace(SOURCE_READINGS, pl.DataFrame([reading], schema=SOURCE_READINGS.schema), source=source.name)
    deployment.instance.report_runless_asset_event(dg.AssetMaterialization("raw_sources", partition=source.name))
    deployment.load(recipe.model_copy(update={"sources": others}))
    assert deployment.requested() == []
    back = source.model_copy(update={"limit": 3}) if changed else source
    deployment.load(recipe.model_copy(update={"sources": [*others, back]}))
    assert deployment.requested() == (["reversed-words"] if changed else [])
