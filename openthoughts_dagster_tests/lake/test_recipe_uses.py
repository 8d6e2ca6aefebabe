"""A lake knows which recipes wrote to it."""

import logging
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from deltalake import DeltaTable

from openthoughts_dagster.lake import LAKE_RECIPES, Lake, other_recipes, record_recipe_use
from openthoughts_dagster_tests.object_store import ObjectStore

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)
MINE = ("mine", "/recipes/mine/recipe.yaml")


def _uses(lake: Lake) -> list[tuple[str, datetime, datetime]]:
    return lake.scan(LAKE_RECIPES).select("location", "first_used_at", "last_used_at").sort("location").collect().rows()


def test_a_use_is_written_when_it_is_new_or_a_day_old(lake: Lake) -> None:
    days = [NOW + timedelta(hours=hours) for hours in (0, 1, 23, 25, 26)]
    assert [record_recipe_use(lake, *MINE, now=now) for now in days] == [True, False, False, True, False]
    assert _uses(lake) == [(MINE[1], days[0], days[3])]
    assert DeltaTable(lake.address(LAKE_RECIPES)).version() == 2  # made, written, written again


def test_other_recipes_of_a_lake_are_listed_the_last_used_first(lake: Lake) -> None:
    assert other_recipes(lake, *MINE) == []
    for hours, use in enumerate([("quickstart", "quickstart"), MINE, ("mine", "/elsewhere/mine/recipe.yaml")]):
        record_recipe_use(lake, *use, now=NOW + timedelta(hours=hours))
    assert [use.location for use in other_recipes(lake, *MINE)] == ["/elsewhere/mine/recipe.yaml", "quickstart"]
    assert [use.recipe for use in other_recipes(lake, "quickstart", "quickstart")] == ["mine", "mine"]


def test_a_store_that_fails_is_given_up_in_seconds(store: ObjectStore, caplog: pytest.LogCaptureFixture) -> None:
    lake = Lake("s3://lake/tables")
    assert record_recipe_use(lake, "quickstart", "quickstart", now=NOW)
    assert [use.recipe for use in other_recipes(lake, *MINE)] == ["quickstart"]
    start = time.monotonic()
    store.fault = lambda method, path: "503 Slow Down"
    assert other_recipes(lake, *MINE) == []
    assert time.monotonic() - start < 5 and "could not be listed" in caplog.text


def test_a_lake_that_cannot_be_read_or_written_is_a_warning_and_no_error(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "lake").write_text("a file where the lake should be")
    lake = Lake(tmp_path / "lake")
    with caplog.at_level(logging.WARNING):
        assert not record_recipe_use(lake, *MINE, now=NOW)
        assert other_recipes(lake, *MINE) == []
    assert "could not be" in caplog.text and str(tmp_path) in caplog.text
