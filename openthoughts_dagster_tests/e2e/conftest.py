"""One small run of a whole recipe for all end-to-end tests."""

import shutil
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import dagster as dg
import pytest
import yaml

from openthoughts_dagster.defs.build import build_definitions
from openthoughts_dagster.defs.resources import engine_pool
from openthoughts_dagster.defs.settings import Settings
from openthoughts_dagster.demo import Outcome, run_recipe
from openthoughts_dagster.lake import Lake
from openthoughts_dagster.quickstart import tiny_models
from openthoughts_dagster.recipe import Recipe, load_recipe
from openthoughts_dagster_tests.e2e.servers import Deployment
from openthoughts_dagster_tests.e2e.small_recipe import (
    COURSES_OF_THE_TEST,
    small_recipe,
    with_a_new_teacher,
    with_study,
)

HOUSE = Path(__file__).parents[2]


@dataclass
class House:
    """A deployment in a temporary folder: its recipe, data, Dagster instance and tables."""

    recipe_file: Path
    data: Path
    instance: dg.DagsterInstance

    @property
    def landing(self) -> Path:
        return self.data / "landing"

    @property
    def settings(self) -> Settings:
        return Settings(str(self.recipe_file), self.data, str(self.data / "lake"))

    @property
    def recipe(self) -> Recipe:
        return load_recipe(str(self.recipe_file), self.settings.variables())

    @property
    def lake(self) -> Lake:
        return Lake(self.settings.lake)

    @property
    def environment(self) -> dict[str, str]:
        """What a process of this deployment needs in its environment."""
        return {
            "OPENTHOUGHTS_RECIPE": str(self.recipe_file),
            "OPENTHOUGHTS_DATA": str(self.data),
            "OPENTHOUGHTS_LANDING": str(self.landing),
            "OPENTHOUGHTS_TICK_SECONDS": "3",
            "DAGSTER_HOME": str(self.data / "dagster"),
        }

    def materialized(self, asset: str) -> set[str]:
        """The asset's partitions that were made at least once."""
        return self.instance.get_materialized_partitions(dg.AssetKey(asset))

    def times_made(self, asset: str) -> dict[str, int]:
        """How often each partition of the asset was made."""
        records = self.instance.fetch_materializations(dg.AssetKey(asset), limit=10_000).records
        return dict(Counter(record.partition_key or "" for record in records))

    def versions(self, asset: str, source: str) -> dict[str, str]:
        """Data versions of the asset's partitions of one source."""
        records = self.instance.fetch_materializations(dg.AssetKey(asset), limit=10_000).records
        newest = {record.partition_key: record.asset_materialization for record in reversed(records)}
        return {
            key: (made.tags or {})["dagster/data_version"]
            for key, made in newest.items()
            if made and key and key.partition("|")[0] == source
        }

    def run(self) -> Outcome:
        """Run the whole recipe, as `make demo` does."""
        return run_recipe(build_definitions(self.recipe, self.settings), self.recipe, self.instance)


@pytest.fixture(scope="session")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """A deployment of the small recipe; its models are trained by its own asset, for a few steps."""
    folder = tmp_path_factory.mktemp("house")
    home = folder / "data" / "dagster"
    home.mkdir(parents=True)
    (home / "dagster.yaml").write_text((HOUSE / "dagster.yaml").read_text())
    with pytest.MonkeyPatch.context() as patch, dg.DagsterInstance.from_config(str(home)) as instance:
        patch.setattr(tiny_models.build_tiny_models, "__defaults__", (0, COURSES_OF_THE_TEST, 4))
        yield House(small_recipe(folder / "recipe"), folder / "data", instance)
        engine_pool().close()
        engine_pool.cache_clear()


@pytest.fixture(scope="session")
def first_run(house: House) -> Outcome:
    """What the first run of the whole recipe did."""
    return house.run()


@dataclass
class Live(House):
    """A house whose webserver, daemon and code server run."""

    deployment: Deployment

    @property
    def address(self) -> str:
        return self.deployment.address

    def log(self) -> str:
        """The end of what the daemon wrote, for a test that waited in vain."""
        return self.deployment.log("daemon")[-3000:]


@pytest.fixture(scope="package")  # its daemon ticks: not beside the tests of other folders
def live(house: House, first_run: Outcome, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    """A copy of the house after its first run, with one teacher more, a study that nobody started, and its servers."""
    folder = tmp_path_factory.mktemp("live")
    shutil.copytree(house.data, folder / "data")
    shutil.copytree(house.recipe_file.parent, folder / "recipe")
    (folder / "data" / "landing").mkdir()
    settings = yaml.safe_load((HOUSE / "dagster.yaml").read_text())
    settings["concurrency"]["runs"]["tag_concurrency_limits"][0]["limit"] = 2  # tiny models share a machine well
    (folder / "data" / "dagster" / "dagster.yaml").write_text(yaml.safe_dump(settings))
    recipe_file = with_study(with_a_new_teacher(folder / "recipe" / house.recipe_file.name), seeds=1)
    with dg.DagsterInstance.from_config(str(folder / "data" / "dagster")) as instance:
        environment = House(recipe_file, folder / "data", instance).environment
        with Deployment(environment, folder / "logs") as deployment:
            yield Live(recipe_file, folder / "data", instance, deployment)
